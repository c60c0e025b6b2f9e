import { Code, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import type { Shape } from "../../api/client";
import { CodeView } from "../../parts/code/CodeView";
import { said } from "../../parts/words";
import { BuildState, Prepare } from "./Build";
import { environment } from "./queries";

interface UnreadyProps {
  workspace: string;
  flow: Shape["FlowDetails"];
}

/** A flow without a plan: what is wrong with it, where, and what to do; or how far its environment is. */
export function Unready({ workspace, flow }: UnreadyProps) {
  return flow.status === "pending" ? <Pending workspace={workspace} flow={flow} /> : <Broken workspace={workspace} flow={flow} />;
}

function Broken({ workspace, flow }: UnreadyProps) {
  const { error } = flow;
  const file = error?.file ?? flow.file;
  const here = file === flow.file && flow.text != null && !file.endsWith(".ipynb");
  return (
    <section className="panel unready" aria-label="Error">
      <div role="alert">
        <p className="state-failed">
          <strong>This flow cannot be read.</strong> {error && said(error)}
        </p>
        {error?.hint && <p>{error.hint}</p>}
      </div>
      <p className="line-up">
        <span className="mono">
          {file}
          {error?.line ? `:${error.line}` : ""}
        </span>
        <Link to={`/w/${workspace}/editor?path=${encodeURIComponent(file)}${error?.line ? `&line=${error.line}` : ""}`}>
          Mend it in the editor
        </Link>
      </p>
      {here && flow.text != null ? (
        <CodeView text={flow.text} language="python" label={`Source of ${flow.label}`} marked={error?.line} maxHeight="420px" />
      ) : (
        error?.source && <Code block>{error.source}</Code>
      )}
      {error?.words && <Code block>{error.words}</Code>}
      {error?.type === "BuildFailed" && <Prepare workspace={workspace} name={flow.name} failed />}
      {error?.traceback && (
        <details>
          <summary className="quiet">Traceback</summary>
          <Code block>{error.traceback}</Code>
        </details>
      )}
    </section>
  );
}

function Pending({ workspace, flow }: UnreadyProps) {
  const found = useQuery({ ...environment(workspace, flow.name), refetchInterval: 1000 });
  const built = found.data?.environment;
  return (
    <section className="panel unready" aria-label="Environment">
      <p>
        <strong>What this flow needs is not installed yet,</strong> and without it nobody can read its plan.
      </p>
      {found.data && (
        <p className="quiet">
          {found.data.why}
          {found.data.requirements.length > 0 && ` ${found.data.requirements.map((each) => each.text).join(", ")}.`}
        </p>
      )}
      {built && <BuildState built={built} />}
      {!built && flow.error?.message && <Text size="sm">{flow.error.message}</Text>}
      {(!built || built.state === "failed" || built.state === "cold") && (
        <Prepare workspace={workspace} name={flow.name} failed={built?.state === "failed"} />
      )}
    </section>
  );
}
