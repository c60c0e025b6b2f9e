import "./flow.css";
import { Button, Tabs, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useRef } from "react";
import { useParams, useSearchParams } from "react-router";
import type { Shape } from "../../api/client";
import { overview, useRefusal, whatIsDue, workspaces } from "../../api/queries";
import { useAddress } from "../../parts/address";
import { State } from "../../parts/State";
import { Due } from "../../parts/Times";
import { triggerInFull } from "../../parts/triggers";
import { Trouble } from "../../parts/Trouble";
import { place } from "../../parts/words";
import { DropZone } from "./DropZone";
import { Environment } from "./Environment";
import { Files } from "./Files";
import { useLiveFlow } from "./live";
import { Plan } from "./Plan";
import { flowDetails, lastRuns } from "./queries";
import { RunsOfFlow } from "./RunsOfFlow";
import { Source } from "./Source";
import { useRunFlow } from "./starting";
import { Unready } from "./Unready";
import { Uploading } from "./Uploading";
import { uploadsOf } from "./uploads";
import { Versions } from "./Versions";

const RunForm = lazy(() => import("./RunForm"));

/** A flow: its plan, its text and how that changed, when and in what it runs, and what became of its runs and files. */
export default function Flow() {
  const { workspace = "", flow: name = "" } = useParams();
  const found = useQuery(flowDetails(workspace, name));
  useLiveFlow(workspace, name);
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return null;
  return <Known key={`${workspace} ${name}`} workspace={workspace} flow={found.data} />;
}

function Known({ workspace, flow }: { workspace: string; flow: Shape["FlowDetails"] }) {
  const refusal = useRefusal(workspace);
  const root = useQuery(workspaces).data?.workspaces.find((each) => each.workspace === workspace)?.path ?? "";
  const uploads = uploadsOf(workspace, flow.name);
  const takesFiles = flow.status === "ok" && flow.source !== null;
  const invitation = `Drop to put them into ${flow.source ? place(flow.source, root) : ""} and run ${flow.label}`;
  return (
    <div className="flow">
      <Head workspace={workspace} flow={flow} root={root} refusal={refusal} />
      <DropZone
        invitation={invitation}
        refusal={refusal ?? (takesFiles ? null : `${flow.label} reads no source folder: it has nowhere to put files.`)}
        onFiles={(files) => uploads.add(files)}
      />
      <Uploading workspace={workspace} flow={flow.name} />
      {flow.status !== "ok" && <Unready workspace={workspace} flow={flow} />}
      <Views workspace={workspace} flow={flow} refusal={refusal} />
    </div>
  );
}

interface HeadProps {
  workspace: string;
  flow: Shape["FlowDetails"];
  root: string;
  refusal: string | null;
}

function Head({ workspace, flow, root, refusal }: HeadProps) {
  const now = useQuery(overview(workspace)).data?.flows.find((each) => each.name === flow.name);
  const last = useQuery(lastRuns(workspace, flow.name)).data?.runs[0];
  return (
    <header className="flow-head">
      <Title order={1}>
        {(last || flow.status !== "ok") && <State bare status={flow.status === "ok" && last ? last.status : flow.status} />} {flow.label}
      </Title>
      <Actions workspace={workspace} flow={flow} refusal={refusal} />
      <div className="facts">
        {flow.trigger && <span className="when">{triggerInFull(flow.trigger, root)}</span>}
        {now?.next_due && (
          <span>
            next <Due at={now.next_due} />
          </span>
        )}
        {now?.condition && <span className="state-waiting">{now.condition}</span>}
        {flow.group && <span className="quiet">{flow.group}</span>}
        <span className="mono quiet">{flow.file}</span>
      </div>
      {flow.description && <p className="description">{flow.description}</p>}
    </header>
  );
}

/** Running it: at once where nothing has to be asked, else by a form; and files for it from this machine. */
function Actions({ workspace, flow, refusal }: Omit<HeadProps, "root">) {
  // In the address: home and the palette lead to the form, too.
  const { address, put } = useAddress();
  const asking = address.has("run");
  const setAsking = (open: boolean) => put({ run: open ? "" : null });
  const starting = useRunFlow(workspace, flow.name);
  const picker = useRef<HTMLInputElement>(null);
  const possible = flow.status === "ok" && refusal === null;
  const asks = flow.params.length > 0;
  return (
    <div className="actions">
      {flow.source !== null && (
        <>
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            aria-label="Files to upload"
            accept={flow.trigger?.extensions.join(",")}
            onChange={(event) => {
              uploadsOf(workspace, flow.name).add([...(event.currentTarget.files ?? [])]);
              event.currentTarget.value = "";
            }}
          />
          <Button size="xs" variant="default" disabled={!possible} onClick={() => picker.current?.click()}>
            Upload files…
          </Button>
          {!asks && (
            <Button size="xs" variant="default" disabled={!possible} onClick={() => setAsking(true)}>
              Run options…
            </Button>
          )}
        </>
      )}
      <Button
        size="xs"
        disabled={!possible}
        loading={starting.pending}
        title={refusal ?? undefined}
        onClick={() => (asks ? setAsking(true) : starting.run(whatIsDue(flow.source)))}
      >
        {asks ? "Run…" : "Run"}
      </Button>
      <div className="told" role="status">
        {starting.error && (
          <span className="state-failed">
            {starting.error.message} {"hint" in starting.error && String(starting.error.hint)}
          </span>
        )}
        {starting.told && <span className="quiet">{starting.told}</span>}
        {refusal && <span className="quiet">{refusal}</span>}
      </div>
      <Suspense>{asking && possible && <RunForm workspace={workspace} flow={flow.name} opened onClose={() => setAsking(false)} />}</Suspense>
    </div>
  );
}

function Views({ workspace, flow, refusal }: Omit<HeadProps, "root">) {
  const [address, setAddress] = useSearchParams();
  const views: [key: string, name: string, view: () => ReactNode][] = [
    ["plan", "Plan", () => <Plan workspace={workspace} flow={flow} />],
    ["source", "Source", () => <Source workspace={workspace} flow={flow} />],
    ["versions", "Versions", () => <Versions workspace={workspace} flow={flow} />],
    ["runs", "Runs", () => <RunsOfFlow workspace={workspace} name={flow.name} />],
    ["files", "Source files", () => <Files workspace={workspace} flow={flow} refusal={refusal} />],
    ["environment", "Environment", () => <Environment workspace={workspace} name={flow.name} />],
  ];
  const offered = views.filter(([key]) => (key === "plan" ? flow.plan : key === "files" ? flow.plan && flow.source : key === "source" ? flow.status !== "broken" : true));
  const [shown] = offered.find(([key]) => key === address.get("tab")) ?? offered[0] ?? [""];
  return (
    // What a tab has chosen means nothing in another one.
    <Tabs value={shown} onChange={(tab) => setAddress(tab ? { tab } : {}, { replace: true })} keepMounted={false}>
      <Tabs.List aria-label="Views" mb={12}>
        {offered.map(([key, name]) => (
          <Tabs.Tab key={key} value={key}>
            {name}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {offered.map(([key, , view]) => (
        <Tabs.Panel key={key} value={key}>
          {key === shown && view()}
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}
