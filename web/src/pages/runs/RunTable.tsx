import { Button } from "@mantine/core";
import { type KeyboardEvent, type MouseEvent, useEffect, useRef, useState } from "react";
import { useNavigate } from "react-router";
import type { Run } from "../../api/client";
import { useLabels } from "../../api/queries";
import { usePagesOf, useRowHeight, useRows } from "../../parts/rows";
import { Empty, Trouble } from "../../parts/Trouble";
import { Batch } from "./Batch";
import type { Filters } from "./filters";
import { PAGE, useRunList, useRunPages } from "./queries";
import { HEAD, RunRow } from "./RunRow";
import { runsCounted } from "./Runs";

/** Which runs are chosen: some of those that were seen, or all that fit. */
export type Chosen = ReadonlyMap<string, Run> | "all";
const NONE: ReadonlyMap<string, Run> = new Map();
const HEADER = 28;

/** The list of runs: only the rows in view are there, and they keep their place while somebody looks at them. */
export function RunTable({ workspace, filters, filtered }: { workspace: string; filters: Filters; filtered: boolean }) {
  const navigate = useNavigate();
  const [over, setOver] = useState(false);
  const [focused, setFocused] = useState(false);
  const [scrolled, setScrolled] = useState(false);
  const [active, setActive] = useState(0);
  const [chosen, setChosen] = useState<Chosen>(NONE);
  const anchor = useRef(0);
  const list = useRunList(workspace, filters, over || focused || scrolled || chosen === "all");
  const [reached, setReached] = useState(0);
  const total = list.exact ? list.count : Math.max(list.count, reached);
  const height = useRowHeight();
  const rows = useRows(total, height, HEADER);
  const pages = useRunPages(workspace, filters, list.cursor, usePagesOf(rows.first, rows.last, PAGE));
  useEffect(() => setReached((known) => Math.max(known, pages.reached)), [pages.reached]);

  const labels = useLabels(workspace);

  const go = (row: number) => {
    const to = Math.max(0, Math.min(row, total - 1));
    setActive(to);
    rows.show(to);
    return to;
  };
  const range = (from: number, to: number) => {
    const runs = new Map(chosen === "all" ? NONE : chosen);
    for (let row = Math.min(from, to); row <= Math.max(from, to); row += 1) {
      const run = pages.at(row);
      if (run) runs.set(run.id, run);
    }
    setChosen(runs);
  };
  const toggle = (row: number) => {
    const run = pages.at(row);
    if (!run) return;
    const runs = new Map(chosen === "all" ? NONE : chosen);
    if (!runs.delete(run.id)) runs.set(run.id, run);
    anchor.current = row;
    setChosen(runs);
  };
  const open = (row: number) => {
    const run = pages.at(row);
    if (run) void navigate(`/w/${workspace}/runs/${run.id}`);
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== event.currentTarget) return;
    const steps: Record<string, number> = {
      ArrowDown: active + 1, j: active + 1, J: active + 1, ArrowUp: active - 1, k: active - 1, K: active - 1,
      PageDown: active + rows.fit - 1, PageUp: active - rows.fit + 1, Home: 0, End: total - 1,
    };
    const next = steps[event.key];
    if (next !== undefined) {
      const to = go(next);
      if (event.shiftKey) range(anchor.current, to);
      else anchor.current = to;
    } else if (event.key === "Enter") open(active);
    else if (event.key === "x" || event.key === " ") toggle(active);
    else if (event.key === "a") setChosen("all");
    else if (event.key === "c") void navigator.clipboard.writeText(pages.at(active)?.id ?? "");
    else if (event.key === "Escape") {
      if (chosen === "all" || chosen.size > 0) setChosen(NONE);
      else event.currentTarget instanceof HTMLElement && event.currentTarget.blur();
    } else return;
    event.preventDefault();
  };
  const clicked = (row: number) => (event: MouseEvent) => {
    setActive(row);
    if (event.shiftKey) range(anchor.current, row);
    else if (event.ctrlKey || event.metaKey) toggle(row);
    else open(row);
  };
  const renew = () => {
    list.renew();
    rows.element?.scrollTo({ top: 0 });
    setActive(0);
  };

  if (list.error && list.loading) return <Trouble error={list.error} />;
  const first = rows.first + 1;
  // Who goes from the list to the button for what is new is still at the list: it must not catch up under the click.
  const pointer = { onPointerEnter: () => setOver(true), onPointerLeave: () => setOver(false) };
  return (
    <section className="panel runs-panel" aria-label="Runs" aria-busy={list.loading}>
      <Batch
        workspace={workspace} filters={filters} cursor={list.cursor} chosen={chosen} onDone={() => setChosen(NONE)}
        total={list.loading ? "" : `${runsCounted(total, list.exact)}${filtered ? " that fit" : ""}`}
      />
      {list.fresh > 0 && (
        <Button className="runs-fresh" size="compact-xs" radius="xl" onClick={renew} {...pointer}>
          {list.fresh >= PAGE ? `${PAGE}+` : list.fresh} new
        </Button>
      )}
      <div
        ref={rows.scroller} className="runs-list" role="grid" tabIndex={0} aria-label="Runs" aria-multiselectable
        aria-rowcount={total + 1} aria-colcount={8} aria-activedescendant={total > 0 ? `run-row-${active}` : undefined}
        onKeyDown={pressed}
        {...pointer}
        onFocus={() => setFocused(true)} onBlur={() => setFocused(false)}
        onScroll={(event) => setScrolled(event.currentTarget.scrollTop > 0)}
      >
        <div role="rowgroup" className="runs-header" style={{ height: HEADER }}>
          <div role="row" aria-rowindex={1} className="runs-row">
            {HEAD.map((name) => (
              <span key={name} role="columnheader" className={name === "Took" ? "right" : ""}>
                {name === "Chosen" ? <span className="unseen">{name}</span> : name}
              </span>
            ))}
          </div>
        </div>
        <div role="rowgroup" style={{ height: rows.tall, position: "relative" }}>
          <div role="presentation" style={{ position: "absolute", insetInline: 0, transform: `translateY(${rows.above}px)` }}>
            {Array.from({ length: Math.max(0, rows.last - rows.first) }, (_, index) => {
              const row = rows.first + index;
              const run = pages.at(row);
              return (
                <RunRow
                  key={run?.id ?? row} id={`run-row-${row}`} index={first + index + 1} height={height} run={run} workspace={workspace}
                  label={run && (labels?.get(run.flow) ?? run.flow)}
                  active={focused && row === active} chosen={chosen === "all" || (run !== undefined && chosen.has(run.id))}
                  onClick={clicked(row)} onToggle={() => toggle(row)}
                />
              );
            })}
          </div>
        </div>
      </div>
      {!list.loading && total === 0 && (
        <div className="runs-none">
          {filtered ? (
            <Empty>Nothing ran that fits these filters. Take one away, or clear them.</Empty>
          ) : (
            <Empty command="flowstead run FLOW">Nothing has run here yet. Run a flow from Home, or with:</Empty>
          )}
        </div>
      )}
      {pages.error && <Trouble error={pages.error} />}
    </section>
  );
}
