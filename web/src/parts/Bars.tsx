import { Link } from "react-router";
import type { RunBar } from "../api/client";
import { duration } from "./words";

/** One bar for each run, oldest first: its height is its duration, its colour its end. */
export function Bars({ runs, workspace }: { runs: RunBar[]; workspace: string }) {
  const longest = Math.max(1, ...runs.map((run) => run.duration_ms ?? 0));
  return (
    <span className="bars">
      {runs.toReversed().map((run) => (
        <Link
          key={run.id}
          to={`/w/${workspace}/runs/${run.id}`}
          className={`state-${run.status}`}
          style={{ height: `${3 + 15 * Math.sqrt((run.duration_ms ?? 0) / longest)}px` }}
          title={`${run.status} · ${duration(run.duration_ms)}`}
          aria-label={`Run ${run.status}, ${duration(run.duration_ms)}`}
        />
      ))}
    </span>
  );
}
