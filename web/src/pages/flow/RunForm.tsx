import { Button, Checkbox, Group, Modal, Radio, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useRef, useState } from "react";
import { ApiError, type Shape } from "../../api/client";
import type { StartBody } from "../../api/queries";
import { Trouble } from "../../parts/Trouble";
import { Field, type Value } from "./Field";
import { flowDetails, lastRuns } from "./queries";
import { useRunFlow } from "./starting";

interface RunFormProps {
  workspace: string;
  /** The flow's name. */
  flow: string;
  opened: boolean;
  onClose: () => void;
}

/** A dialog that runs a flow: what it asks for, and which of its files. */
export default function RunForm({ workspace, flow, opened, onClose }: RunFormProps) {
  const found = useQuery({ ...flowDetails(workspace, flow), enabled: opened });
  return (
    <Modal opened={opened} onClose={onClose} title={`Run ${found.data?.label ?? flow}`}>
      {found.error && !found.data && <Trouble error={found.error} />}
      {found.data && <Form workspace={workspace} flow={found.data} onClose={onClose} />}
    </Modal>
  );
}

type Files = "due" | "failed" | "all";
const FILES: [Files, string][] = [
  ["due", "Files that are new or have changed"],
  ["failed", "Those, and files whose last run failed"],
  ["all", "Everything again, also files that are done"],
];

function Form({ workspace, flow, onClose }: { workspace: string; flow: Shape["FlowDetails"]; onClose: () => void }) {
  const [given, setGiven] = useState<Record<string, Value>>({});
  const [missing, setMissing] = useState<string[]>([]);
  const [files, setFiles] = useState<Files>("due");
  const [resume, setResume] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const starting = useRunFlow(workspace, flow.name);
  const interrupted = useQuery(lastRuns(workspace, flow.name)).data?.runs.some((run) => run.status === "interrupted");
  const refused = starting.error instanceof ApiError ? starting.error : null;
  const refusedAt = flow.params.find((param) => param.name === refused?.detail["parameter"])?.name;

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const empty = flow.params.filter((param) => param.required && param.type !== "bool" && !given[param.name]).map((param) => param.name);
    setMissing(empty);
    if (empty.length > 0) {
      form.current?.querySelector<HTMLElement>(`[name="${CSS.escape(empty[0] ?? "")}"]`)?.focus();
      return;
    }
    const body: StartBody = { params: paramsOf(flow.params, given) };
    if (!flow.source) body.new = !resume;
    else if (files === "failed") body.retry_failed = true;
    else if (files === "all") Object.assign(body, { force: true, new: true });
    starting.run(body, onClose);
  };
  const change = (name: string, value: Value) => {
    setGiven((known) => ({ ...known, [name]: value }));
    setMissing((known) => known.filter((each) => each !== name));
    if (refusedAt === name) starting.reset();
  };
  return (
    <form ref={form} onSubmit={submit} className="run-form" noValidate>
      {flow.params.map((param, index) => (
        <Field
          key={param.name}
          param={param}
          value={given[param.name]}
          first={index === 0}
          error={missing.includes(param.name) ? "Give a value." : refusedAt === param.name && refused ? told(refused) : null}
          onChange={(value) => change(param.name, value)}
        />
      ))}
      {flow.source && (
        <Radio.Group label="Which files" value={files} onChange={(value) => setFiles(value as Files)}>
          <div className="run-form-choices">
            {FILES.map(([value, words]) => (
              <Radio key={value} value={value} label={words} size="sm" />
            ))}
          </div>
        </Radio.Group>
      )}
      {!flow.source && interrupted && (
        <Checkbox
          size="sm"
          label="Go on with the interrupted run, if it had the same inputs"
          checked={resume}
          onChange={(event) => setResume(event.currentTarget.checked)}
        />
      )}
      {refused && !refusedAt && <Trouble error={refused} />}
      {starting.told && (
        <Text size="sm" role="status">
          {starting.told}
        </Text>
      )}
      <Group justify="flex-end" gap="sm">
        <Button variant="default" size="sm" onClick={onClose}>
          Cancel
        </Button>
        <Button type="submit" size="sm" loading={starting.pending}>
          Run
        </Button>
      </Group>
    </form>
  );
}

/** What the API said of one field; how to write it on a command line is of no use here. */
function told({ message, hint }: ApiError): string {
  return `${message.replace(/^Parameter '[^']*': /, "")} ${hint.replace(/ As in: .*/, "")}`;
}

/** Only what was changed; the flow knows its defaults. */
function paramsOf(params: Shape["Param"][], given: Record<string, Value>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const param of params) {
    const value = given[param.name] ?? (param.required && param.type === "bool" ? false : undefined);
    if (value === undefined) continue;
    const emptied = value === "" && (param.type !== "str" || param.default == null);
    values[param.name] = emptied && !param.required ? null : value;
  }
  return values;
}
