import { Link } from "react-router";
import type { Shape } from "../../api/client";
import { CodeView } from "../../parts/code/CodeView";
import { Empty } from "../../parts/Trouble";
import { moduleText } from "./queries";

/** The module as it is now, to be read. */
export function Source({ workspace, flow }: { workspace: string; flow: Shape["FlowDetails"] }) {
  return (
    <section className="panel">
      <div className="panel-head">
        <h2 className="mono">{flow.file}</h2>
        <Link to={`/w/${workspace}/editor?path=${encodeURIComponent(flow.file)}`}>Open in the editor</Link>
      </div>
      {flow.text == null ? (
        <Empty>The file cannot be read now.</Empty>
      ) : (
        <CodeView text={moduleText(flow.file, flow.text)} language="python" label={`Source of ${flow.label}`} marked={flow.error?.line} />
      )}
    </section>
  );
}
