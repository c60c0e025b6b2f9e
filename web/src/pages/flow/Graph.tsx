import { VisuallyHidden } from "@mantine/core";
import { IconFiles, IconFunction, IconPoint, IconStack2, type Icon } from "../../parts/icons";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import type { Run, Shape } from "../../api/client";
import { State } from "../../parts/State";
import { duration } from "../../parts/words";
import { layout, type Placed, type Planned } from "./layout";

const NODE = { width: 200, height: 52 };
const GAP = { across: 16, down: 36 };
const EDGE = 12;
/** Steps further away than this from what is seen are not drawn. */
const BEYOND = 400;

/** What kind of step it is, as a glyph and in words. */
export const KINDS: Record<string, [glyph: Icon, words: string]> = {
  step: [IconFunction, "Step"],
  map: [IconStack2, "Map: one call for each item"],
  collect: [IconFiles, "Collects files"],
};

interface GraphProps {
  steps: Planned[];
  took: Map<string, Shape["Spread"] | null>;
  run: Run | null;
  chosen: string | null;
  onChoose: (name: string) => void;
}

/** A plan as a graph: values go down along the lines, the numbers say in which order steps run. */
export function Graph({ steps, took, run, chosen, onChoose }: GraphProps) {
  const { placed, layers, lanes } = useMemo(() => layout(steps), [steps]);
  const frame = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, bottom: 2000, left: 0, right: 3000 });
  const look = () => {
    const box = frame.current;
    if (!box) return;
    // In coarse steps: scrolling draws anew only when other steps come near.
    const top = Math.floor(box.scrollTop / BEYOND) * BEYOND;
    const left = Math.floor(box.scrollLeft / BEYOND) * BEYOND;
    setSeen((known) =>
      known.top === top - BEYOND && known.left === left - BEYOND && known.bottom - top === box.clientHeight + 2 * BEYOND
        ? known
        : { top: top - BEYOND, bottom: top + box.clientHeight + 2 * BEYOND, left: left - BEYOND, right: left + box.clientWidth + 2 * BEYOND },
    );
  };
  useEffect(look, [steps]);

  const current = Math.max(0, placed.findIndex(({ step }) => step.name === chosen));
  // Keys may come faster than what they choose is drawn.
  const at = useRef(current);
  useEffect(() => {
    at.current = current;
  }, [current]);
  const move = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, j: 1, ArrowRight: 1, ArrowUp: -1, k: -1, ArrowLeft: -1, Home: -placed.length, End: placed.length }[event.key];
    if (by === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const index = chosen === null && by > 0 ? 0 : Math.min(placed.length - 1, Math.max(0, at.current + by));
    at.current = index;
    const next = placed[index];
    if (!next) return;
    onChoose(next.step.name);
    const box = frame.current;
    const top = y(next);
    if (box && (top < box.scrollTop || top + NODE.height > box.scrollTop + box.clientHeight)) box.scrollTo({ top: top - 80 });
    if (box && (x(next) < box.scrollLeft || x(next) + NODE.width > box.scrollLeft + box.clientWidth)) box.scrollTo({ left: x(next) - 80 });
    // The node may be drawn only after this.
    requestAnimationFrame(() => box?.querySelector<HTMLElement>(`#step-${index}`)?.focus({ preventScroll: true }));
  };

  const near = ({ layer, lane }: Placed) => {
    const top = EDGE + layer * (NODE.height + GAP.down);
    const left = EDGE + lane * (NODE.width + GAP.across);
    return top + NODE.height + GAP.down > seen.top && top < seen.bottom && left + NODE.width > seen.left && left < seen.right;
  };
  const size = {
    width: 2 * EDGE + lanes * NODE.width + (lanes - 1) * GAP.across,
    height: 2 * EDGE + layers * NODE.height + (layers - 1) * GAP.down,
  };
  return (
    <div className="graph" ref={frame} onScroll={look}>
      <div style={{ position: "relative", ...size }}>
        <svg className="edges" width={size.width} height={size.height} aria-hidden>
          {placed.map((each, index) => {
            const above = each.parent === null ? undefined : placed[each.parent];
            return above && (near(each) || near(above)) ? <Edge key={index} from={above} to={each} /> : null;
          })}
        </svg>
        <div role="listbox" aria-label="Steps" aria-orientation="vertical" onKeyDown={move}>
          {placed.map((each, index) =>
            near(each) || index === current ? (
              <Node
                key={each.step.name + index}
                index={index}
                placed={each}
                took={took.get(each.step.name) ?? null}
                now={run?.steps.find((step) => step.index === each.step.index && step.name === each.step.name) ?? null}
                chosen={each.step.name === chosen}
                reached={index === current}
                onChoose={onChoose}
              />
            ) : null,
          )}
        </div>
      </div>
    </div>
  );
}

const x = ({ lane }: Placed) => EDGE + lane * (NODE.width + GAP.across);
const y = ({ layer }: Placed) => EDGE + layer * (NODE.height + GAP.down);

/** The way of a value, with its name where it has one; dotted where only the order matters. */
function Edge({ from, to }: { from: Placed; to: Placed }) {
  const begin = { x: x(from) + 28, y: y(from) + NODE.height };
  const end = { x: x(to) + 28, y: y(to) };
  const middle = begin.y + GAP.down / 2;
  const turn = begin.x === end.x ? "" : `V ${middle - 6} Q ${begin.x} ${middle} ${begin.x + 6} ${middle} H ${end.x - 6} Q ${end.x} ${middle} ${end.x} ${middle + 6}`;
  const order = to.step.kind === "collect" && to.by === null;
  const name = to.by ?? (order ? null : from.step.save_as);
  return (
    <g className={order ? "edge order" : "edge"}>
      <path d={`M ${begin.x} ${begin.y} ${turn} V ${end.y - 1}`} />
      {!order && <path className="head" d={`M ${end.x - 4} ${end.y - 6} L ${end.x} ${end.y - 1} L ${end.x + 4} ${end.y - 6}`} />}
      {name && (
        <text x={end.x + 9} y={end.y - 7}>
          {name.length > 26 ? `${name.slice(0, 25)}…` : name}
        </text>
      )}
    </g>
  );
}

interface NodeProps {
  index: number;
  placed: Placed;
  took: Shape["Spread"] | null;
  now: Shape["Step"] | null;
  chosen: boolean;
  /** Whether Tab comes here: one of all steps. */
  reached: boolean;
  onChoose: (name: string) => void;
}

function Node({ index, placed, took, now, chosen, reached, onChoose }: NodeProps) {
  const { step } = placed;
  const [Glyph, kind] = KINDS[step.kind] ?? [IconPoint, step.kind];
  const items = now?.items_total != null && now.status === "running" ? `${now.items_done ?? 0}/${now.items_total}` : null;
  return (
    <div
      id={`step-${index}`}
      role="option"
      aria-selected={chosen}
      tabIndex={reached ? 0 : -1}
      className={`node kind-${step.kind}`}
      style={{ left: x(placed), top: y(placed), width: NODE.width, height: NODE.height }}
      onClick={() => onChoose(step.name)}
      onKeyDown={(event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), onChoose(step.name))}
    >
      <span className="kind" title={kind} aria-hidden>
        <Glyph size={16} />
      </span>
      <span className="name" title={step.label}>
        <span className="quiet">{index + 1}</span> {step.label}
        <VisuallyHidden> {step.kind}</VisuallyHidden>
      </span>
      <span className="now">{now && now.status !== "pending" ? <State status={now.status} /> : <span className="quiet">{now ? "not reached" : "not run yet"}</span>}</span>
      <span className="took mono" title={took ? `Median of ${took.count} runs` : undefined}>
        {items ?? (took ? duration(took.median_ms) : "")}
      </span>
    </div>
  );
}
