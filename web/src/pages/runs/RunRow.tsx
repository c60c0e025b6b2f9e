import type { MouseEvent } from "react";
import { Link } from "react-router";
import type { Run } from "../../api/client";
import { Copy } from "../../parts/Copy";
import { State } from "../../parts/State";
import { Ago, Took } from "../../parts/Times";
import { middle, said, shortId } from "../../parts/words";

export const HEAD = ["Chosen", "State", "Flow", "Source", "Summary", "When", "Took", "Run"] as const;

interface RunRowProps {
  id: string;
  /** Its number among the rows, the header being 1. */
  index: number;
  height: number;
  /** Undefined while it is loaded. */
  run: Run | undefined;
  /** What its flow is called. */
  label: string | undefined;
  workspace: string;
  active: boolean;
  chosen: boolean;
  onClick: (event: MouseEvent) => void;
  onToggle: () => void;
}

export function RunRow({ id, index, height, run, label, workspace, active, chosen, onClick, onToggle }: RunRowProps) {
  const told = run && (run.summary ?? (run.error && said(run.error)) ?? (run.waiting_for && `waiting for ${run.waiting_for}`));
  return (
    // Keys are the grid's own: the focus stays there, and the row that they act on is its active one.
    <div
      id={id} role="row" aria-rowindex={index} aria-selected={chosen} className={active ? "runs-row active" : "runs-row"} style={{ height }}
      onClick={onClick}
    >
      <span role="gridcell" onClick={(event) => event.stopPropagation()}>
        <input type="checkbox" tabIndex={-1} checked={chosen} onChange={onToggle} aria-label={run ? `Choose run ${shortId(run.id)}` : "Choose"} />
      </span>
      {run ? (
        <>
          <span role="gridcell">
            <State status={run.status} />
          </span>
          <span role="gridcell" title={run.flow}>
            <Link to={`/w/${workspace}/runs/${run.id}`} tabIndex={-1} onClick={(event) => event.stopPropagation()}>
              {label}
            </Link>
          </span>
          <span role="gridcell" className="mono" title={run.source_path ?? undefined}>
            {middle(run.source_path ?? "", 34)}
          </span>
          <span role="gridcell" className={run.error ? "state-failed" : ""} title={told ?? undefined}>
            {told}
          </span>
          <span role="gridcell" className="quiet">
            <Ago at={run.finished_at ?? run.started_at ?? run.queued_at} />
          </span>
          <span role="gridcell" className="right mono">
            <Took from={run.started_at} to={run.finished_at} />
          </span>
          <span role="gridcell">
            <Copy text={run.id} tabbable={false}>{shortId(run.id)}</Copy>
          </span>
        </>
      ) : (
        HEAD.slice(1).map((name) => <span key={name} role="gridcell" className="runs-wait" />)
      )}
    </div>
  );
}
