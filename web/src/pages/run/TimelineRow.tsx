import { IconChevronDown, IconChevronRight } from "../../parts/icons";
import type { Run } from "../../api/client";
import { State } from "../../parts/State";
import { Took } from "../../parts/Times";
import { duration } from "../../parts/words";
import { isTakenOver, place, type Span } from "./axis";
import type { Attempt, Item, Step } from "./queries";

/** A row of the timeline: a step, or an item of a map that is opened. */
export interface Row {
  key: string;
  step: Step;
  item: Item | null;
}

interface RowProps {
  index: number;
  top: number;
  chosen: boolean;
  onChoose: () => void;
}

interface StepRowProps extends RowProps {
  run: Run;
  step: Step;
  span: Span;
  /** Every attempt at the step, where there is more than one. */
  tries: Attempt[] | undefined;
  opened: boolean;
  onTurn: (open: boolean) => void;
}

/** A step: its name, its bar in time (of a map with how far it is), and how long it took. */
export function StepRow({ index, top, chosen, onChoose, run, step, span, tries, opened, onTurn }: StepRowProps) {
  const isMap = step.kind === "map";
  const takenOver = isTakenOver(run, step);
  const earlier = tries?.slice(0, -1) ?? [];
  return (
    <div
      id={`row-${index}`}
      className="timeline-row"
      role="row"
      aria-rowindex={index + 1}
      aria-level={1}
      aria-selected={chosen}
      aria-expanded={isMap && step.items_total ? opened : undefined}
      style={{ top }}
      onClick={onChoose}
    >
      <span role="gridcell" className="timeline-name" title={step.label}>
        {isMap && step.items_total ? (
          <span
            className="twist"
            aria-hidden
            onClick={(event) => {
              event.stopPropagation();
              onTurn(!opened);
            }}
          >
            {opened ? <IconChevronDown size={14} /> : <IconChevronRight size={14} />}
          </span>
        ) : (
          <span className="twist" />
        )}
        <State bare status={step.status} />
        <span className="cut">{step.label}</span>
        {step.attempt > 1 && <span className="quiet small">×{step.attempt}</span>}
      </span>
      <span role="gridcell" className="track">
        {takenOver ? (
          <span className="quiet small taken-over">taken over</span>
        ) : (
          <>
            {earlier.map((each) => (
              <span
                key={each.attempt}
                className={`bar earlier state-${each.status}`}
                style={place(span, each.started_at, each.finished_at)}
                title={`Attempt ${each.attempt}: ${each.status}`}
              />
            ))}
            {step.started_at && (
              <span className={`bar state-${step.status} ${isMap ? "map" : ""}`} style={place(span, step.started_at, step.finished_at)}>
                {isMap && <Progress step={step} />}
              </span>
            )}
            {step.started_at && isMap && step.items_total != null && <Counted step={step} span={span} />}
          </>
        )}
      </span>
      <span role="gridcell" className="mono right">
        <Took from={step.started_at} to={step.finished_at} />
      </span>
    </div>
  );
}

/** How far a map is: what is done, and what of it failed. */
function Progress({ step }: { step: Step }) {
  const total = step.items_total || 1;
  const failed = step.items_failed ?? 0;
  return (
    <>
      <span className="done" style={{ width: `${(100 * ((step.items_done ?? 0) - failed)) / total}%` }} />
      <span className="done state-failed" style={{ width: `${(100 * failed) / total}%` }} />
    </>
  );
}

/** The items of a map in numbers, where there is room for them: after the bar, before it, or on it. */
function Counted({ step, span }: { step: Step; span: Span }) {
  const { left, width } = place(span, step.started_at, step.finished_at);
  const end = parseFloat(left) + parseFloat(width);
  const where = end < 55 ? { left: `calc(${end}% + 6px)` } : parseFloat(left) > 45 ? { right: `calc(${100 - parseFloat(left)}% + 6px)` } : { right: "8px" };
  return (
    <span className="counted small" style={where}>
      <span className="mono">
        {step.items_done ?? 0}/{step.items_total}
      </span>
      {step.items_failed ? <span className="state-failed"> · {step.items_failed} failed</span> : null}
    </span>
  );
}

/** An item of a map: whether it succeeded, what it said, and how long it took. */
export function ItemRow({ index, top, chosen, onChoose, step, item }: RowProps & { step: Step; item: Item }) {
  return (
    <div
      id={`row-${index}`}
      className="timeline-row item"
      role="row"
      aria-rowindex={index + 1}
      aria-level={2}
      aria-selected={chosen}
      aria-label={`Item ${item.item} of ${step.label}, ${item.status}`}
      style={{ top }}
      onClick={onChoose}
    >
      <span role="gridcell" className="timeline-name">
        <span className="twist" />
        <State bare status={item.status} />
        <span className="mono">item {item.item}</span>
      </span>
      <span role="gridcell" className="cut quiet small" title={item.error?.message}>
        {item.error?.message}
      </span>
      <span role="gridcell" className="mono right">
        {duration(item.duration_ms)}
      </span>
    </div>
  );
}
