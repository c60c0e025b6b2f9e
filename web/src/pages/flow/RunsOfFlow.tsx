import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { State } from "../../parts/State";
import { Ago, Took } from "../../parts/Times";
import { Empty, Trouble } from "../../parts/Trouble";
import { duration, said, shortId } from "../../parts/words";
import { durations, lastRuns } from "./queries";

/** The last runs of the flow: when, what came of it, and how long each took beside the others. */
export function RunsOfFlow({ workspace, name }: { workspace: string; name: string }) {
  const found = useQuery(lastRuns(workspace, name));
  const usual = useQuery(durations(workspace, name)).data?.run;
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return null;
  const { runs, next } = found.data;
  if (runs.length === 0)
    return (
      <section className="panel">
        <Empty command={`flowstead run ${name}`}>This flow has not run yet. Run it with the button above, or:</Empty>
      </section>
    );
  const longest = Math.max(1, ...runs.map((run) => run.duration_ms ?? 0));
  return (
    <section className="panel" aria-label="Runs">
      <div className="panel-head">
        <h2>
          Last runs
          {usual && (
            <span className="quiet">
              {" "}· {duration(usual.median_ms)} at the median, {duration(usual.p10_ms)}–{duration(usual.p90_ms)} mostly
            </span>
          )}
        </h2>
        <Link to={`/w/${workspace}/runs?flow=${encodeURIComponent(name)}`}>{next === null ? "In the list of runs" : "All runs of this flow"}</Link>
      </div>
      <table className="rows runs-of-flow">
        <thead>
          <tr>
            <th>State</th>
            <th>When</th>
            <th>What came of it</th>
            <th>Source</th>
            <th colSpan={2}>Took</th>
            <th>Run</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={run.id}>
              <td>
                <State status={run.status} />
              </td>
              <td>
                <Link to={`/w/${workspace}/runs/${run.id}`}>
                  <Ago at={run.finished_at ?? run.started_at ?? run.queued_at} />
                </Link>
              </td>
              <td className="what" title={run.summary ?? run.error?.message}>
                {run.summary ?? (run.error && said(run.error)) ?? (run.waiting_for && `waiting for ${run.waiting_for}`)}
              </td>
              <td className="mono quiet" title={run.source_path ?? undefined}>
                {run.source_path}
              </td>
              <td className="length">
                <span className={`state-${run.status}`} style={{ width: `${(100 * (run.duration_ms ?? 0)) / longest}%` }} />
              </td>
              <td className="mono right">
                <Took from={run.started_at} to={run.finished_at} />
              </td>
              <td className="mono quiet">{shortId(run.id)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
