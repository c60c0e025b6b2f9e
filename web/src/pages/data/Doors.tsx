import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { useLabels, workspaces } from "../../api/queries";
import { Ago } from "../../parts/Times";
import { Empty } from "../../parts/Trouble";
import { middle, place } from "../../parts/words";
import { dataAt, folder, lastRuns } from "./queries";

/** The ways to what lies elsewhere: what each flow left last, and the folders that runs read. */
export function Doors({ workspace }: { workspace: string }) {
  const root = useQuery(workspaces).data?.workspaces.find((each) => each.workspace === workspace)?.path ?? "";
  const sources = useQuery(folder(workspace, "", null)).data?.sources ?? [];
  const runs = useQuery(lastRuns(workspace)).data?.runs ?? [];
  const labels = useLabels(workspace);
  const last = [...Map.groupBy(runs, (run) => run.flow).values()].flatMap(([newest]) => (newest ? [newest] : []));
  return (
    <div className="doors">
      <section className="panel" aria-labelledby="door-outputs">
        <h2 id="door-outputs">What flows left last</h2>
        {last.length === 0 ? (
          <Empty>Once a run has succeeded, its outputs are here.</Empty>
        ) : (
          <ul>
            {last.map((run) => (
              <li key={run.id}>
                <Link to={dataAt(workspace, "", run.id)}>{labels?.get(run.flow) ?? run.flow}</Link>
                <span className="quiet">
                  <Ago at={run.finished_at} />
                </span>
              </li>
            ))}
          </ul>
        )}
      </section>
      {sources.length > 0 && (
        <section className="panel" aria-labelledby="door-sources">
          <h2 id="door-sources">Folders that runs read</h2>
          <ul>
            {sources.map((source) => (
              <li key={source}>
                <Link to={dataAt(workspace, source)} title={source} className="mono">
                  {middle(place(source, root), 40)}
                </Link>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}
