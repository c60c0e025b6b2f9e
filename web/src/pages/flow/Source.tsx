import { Link } from "react-router";
import type { Shape } from "../../api/client";
import { CodeView } from "../../parts/code/CodeView";
import { Empty } from "../../parts/Trouble";

/** The module as it is now, to be read. */
export function Source({ workspace, flow }: { workspace: string; flow: Shape["FlowDetails"] }) {
  const notebook = flow.file.endsWith(".ipynb");
  return (
    <section className="panel">
      <div className="panel-head">
        <h2 className="mono">{flow.file}</h2>
        <Link to={`/w/${workspace}/editor?path=${encodeURIComponent(flow.file)}`}>Open in the editor</Link>
      </div>
      {flow.text == null ? (
        <Empty>The file cannot be read now.</Empty>
      ) : (
        <CodeView text={notebook ? cells(flow.text) : flow.text} language="python" label={`Source of ${flow.label}`} marked={flow.error?.line} />
      )}
    </section>
  );
}

/** The code cells of a notebook, one after the other; the text as it is where it is no notebook. */
function cells(text: string): string {
  try {
    const notebook = JSON.parse(text) as { cells: { cell_type: string; source: string | string[] }[] };
    const code = notebook.cells.filter((cell) => cell.cell_type === "code").map((cell) => [cell.source].flat().join(""));
    return code.map((cell, index) => `# %% [${index + 1}]\n${cell}\n`).join("\n");
  } catch {
    return text;
  }
}
