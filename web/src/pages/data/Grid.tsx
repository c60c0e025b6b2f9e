import { type KeyboardEvent, type ReactNode, useLayoutEffect, useMemo, useState } from "react";
import type { RowWindow } from "../../parts/rows";
import { type Cell, type Column, glyph, isNumber, type Sort, shown } from "../../parts/table/tables";
import { Value } from "../../parts/table/Value";
import { CellText, type OpenCell } from "./CellText";

/** The column of row numbers. */
const GUTTER = 72;
const WIDTHS: Record<string, number> = { number: 124, boolean: 96, date: 136, timestamp: 208, time: 112, nested: 240 };

interface GridProps {
  label: string;
  columns: Column[];
  total: number;
  height: number;
  headHeight: number;
  rows: RowWindow;
  /** The values of a row; undefined while they are loaded. */
  at: (row: number) => Cell[] | undefined;
  isCut: (row: number, column: number) => boolean;
  sort?: Sort[];
  onSort?: (column: string, add: boolean) => void;
  /** What stands below the name of a column that is in view. */
  head?: (column: Column, width: number) => ReactNode;
  menu?: (column: Column) => ReactNode;
  /** Told which columns are in view. */
  onColumns?: (first: number, last: number) => void;
  busy?: boolean;
}

/** A table of any size: only the rows and columns in view are there; the first column stays at the side. */
export function Grid({ label, columns, total, height, headHeight, rows, at, isCut, sort = [], onSort, head, menu, onColumns, busy = false }: GridProps) {
  const [active, setActive] = useState({ row: 0, column: 0 });
  const [open, setOpen] = useState<OpenCell | null>(null);
  const [copied, setCopied] = useState(false);
  const widths = useMemo(() => columns.map((column) => Math.max(WIDTHS[column.kind] ?? 168, Math.min(280, 84 + column.name.length * 7.5))), [columns]);
  const lefts = useMemo(() => widths.reduce((known, width) => [...known, (known.at(-1) ?? 0) + width], [0]), [widths]);
  const pinned = widths[0] ?? 0;
  const { first, last } = useColumns(rows, lefts, pinned);
  useLayoutEffect(() => onColumns?.(first, last), [onColumns, first, last]);
  const inView = [0, ...Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index)].filter((index) => index < columns.length);
  const gap = (lefts[first] ?? 0) - pinned;
  const whole = GUTTER + (lefts.at(-1) ?? 0);

  const go = (row: number, column: number) => {
    const to = { row: Math.max(0, Math.min(row, total - 1)), column: Math.max(0, Math.min(column, columns.length - 1)) };
    setActive(to);
    rows.show(to.row);
    const { element } = rows;
    if (!element || to.column === 0) return;
    const [left, right] = [lefts[to.column] ?? 0, lefts[to.column + 1] ?? 0];
    const view = element.clientWidth - GUTTER - pinned;
    if (left - pinned < element.scrollLeft) element.scrollLeft = left - pinned;
    else if (right - pinned > element.scrollLeft + view) element.scrollLeft = right - pinned - view;
  };
  const show = (row: number, index: number) => {
    const column = columns[index];
    const values = at(row);
    if (column && values) setOpen({ row, column, value: values[index], cut: isCut(row, index) });
  };
  const copy = () => {
    void navigator.clipboard.writeText(shown(at(active.row)?.[active.column]));
    setCopied(true);
    window.setTimeout(() => setCopied(false), 600);
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget) return;
    const { row, column } = active;
    const far = event.ctrlKey || event.metaKey;
    if (far && event.key === "c") {
      if (window.getSelection()?.isCollapsed) copy();
      return;
    }
    if (far && event.key !== "Home" && event.key !== "End") return;
    const moves: Record<string, [number, number]> = {
      ArrowDown: [row + 1, column], j: [row + 1, column], ArrowUp: [row - 1, column], k: [row - 1, column],
      ArrowRight: [row, column + 1], l: [row, column + 1], ArrowLeft: [row, column - 1], h: [row, column - 1],
      PageDown: [row + rows.fit - 1, column], PageUp: [row - rows.fit + 1, column],
      Home: [far ? 0 : row, 0], End: [far ? total - 1 : row, far ? column : columns.length - 1],
    };
    const to = moves[event.key];
    if (to) go(...to);
    else if (event.key === "Enter") show(row, column);
    else if (event.key === "Escape" && event.currentTarget instanceof HTMLElement) event.currentTarget.blur();
    else return;
    event.preventDefault();
  };

  return (
    <>
      <div
        ref={rows.scroller} className="grid" role="grid" tabIndex={0} aria-label={label} aria-rowcount={total + 1} aria-colcount={columns.length + 1}
        aria-busy={busy} aria-activedescendant={total > 0 ? `cell-${active.row}-${active.column}` : undefined} onKeyDown={pressed}
      >
        <div role="rowgroup" className="grid-head" style={{ height: headHeight, width: whole }}>
          <div role="row" aria-rowindex={1} className="grid-row">
            <span role="columnheader" className="grid-gutter" style={{ width: GUTTER }}>
              <span className="unseen">Row</span>
            </span>
            {inView.map((index) => {
              const column = columns[index];
              if (!column) return null;
              const by = sort.find((each) => each.column === column.name);
              return (
                <div
                  key={index} role="columnheader" aria-colindex={index + 2} className={`grid-name ${index === 0 ? "grid-first" : ""}`}
                  aria-sort={by ? (by.descending ? "descending" : "ascending") : undefined}
                  style={{ width: widths[index], ...(index === first && index > 0 ? { marginInlineStart: gap } : {}) }}
                >
                  <div className="grid-title">
                    {onSort ? (
                      <button type="button" title={`${column.name}: ${column.type}. A click sorts`} onClick={(event) => onSort(column.name, event.shiftKey)}>
                        {column.name} {by && <span aria-hidden>{by.descending ? "↓" : "↑"}</span>}
                      </button>
                    ) : (
                      <strong title={`${column.name}: ${column.type}`}>{column.name}</strong>
                    )}
                    <span className="quiet" title={column.type}>
                      {glyph(column)}
                    </span>
                    {menu?.(column)}
                  </div>
                  {head?.(column, widths[index] ?? 0)}
                </div>
              );
            })}
          </div>
        </div>
        <div role="rowgroup" style={{ height: rows.tall, width: whole, position: "relative" }}>
          <div role="presentation" style={{ position: "absolute", insetInline: 0, transform: `translateY(${rows.above}px)` }}>
            {Array.from({ length: Math.max(0, rows.last - rows.first) }, (_, offset) => {
              const row = rows.first + offset;
              const values = at(row);
              return (
                <div key={row} role="row" aria-rowindex={row + 2} className="grid-row" style={{ height }}>
                  <span role="rowheader" className="grid-gutter mono" style={{ width: GUTTER }}>
                    {(row + 1).toLocaleString("en-US")}
                  </span>
                  {inView.map((index) => {
                    const column = columns[index];
                    if (!column) return null;
                    const here = active.row === row && active.column === index;
                    return (
                      <span
                        key={index} id={`cell-${row}-${index}`} role="gridcell" aria-colindex={index + 2}
                        className={`grid-cell ${isNumber(column) ? "right mono" : ""} ${index === 0 ? "grid-first" : ""} ${here ? (copied ? "here copied" : "here") : ""}`}
                        style={{ width: widths[index], ...(index === first && index > 0 ? { marginInlineStart: gap } : {}) }}
                        onClick={() => setActive({ row, column: index })} onDoubleClick={() => show(row, index)}
                      >
                        {values ? <Value column={column} value={values[index]} /> : <span className="grid-wait" />}
                        {values && isCut(row, index) && <span className="quiet">…</span>}
                      </span>
                    );
                  })}
                </div>
              );
            })}
          </div>
        </div>
      </div>
      <CellText cell={open} onClose={() => setOpen(null)} />
    </>
  );
}

/** The columns in view beside the first one. */
function useColumns(rows: RowWindow, lefts: number[], pinned: number) {
  const [view, setView] = useState({ left: 0, width: 1200 });
  const { element } = rows;
  useLayoutEffect(() => {
    if (!element) return;
    // In steps, so that a table is drawn anew only when other columns come into view.
    const look = () => {
      const [left, width] = [Math.floor(element.scrollLeft / 64) * 64, Math.ceil(element.clientWidth / 64) * 64];
      setView((known) => (known.left === left && known.width === width ? known : { left, width }));
    };
    look();
    element.addEventListener("scroll", look, { passive: true });
    const watching = new ResizeObserver(look);
    watching.observe(element);
    return () => {
      element.removeEventListener("scroll", look);
      watching.disconnect();
    };
  }, [element]);
  const from = view.left + pinned;
  const to = view.left + view.width + 64;
  let first = 1;
  while (first < lefts.length - 2 && (lefts[first + 1] ?? 0) <= from) first += 1;
  let last = first;
  while (last < lefts.length - 1 && (lefts[last] ?? 0) < to) last += 1;
  return { first, last };
}
