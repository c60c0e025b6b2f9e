import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type MouseEvent, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import { timeOfDay } from "../../parts/words";
import type { Line, Lines } from "./logLines";
import type { Step } from "./queries";

/** The lines that are chosen, by number: where the choice began, and where it is. */
export interface Chosen {
  from: number;
  to: number;
}

interface LogViewProps {
  lines: Lines;
  live: boolean;
  follow: boolean;
  onFollow: (follow: boolean) => void;
  chosen: Chosen | null;
  onChoose: (line: number, extend: boolean) => void;
  onLeave: () => void;
  onCopy: () => void;
  onJump: (backward: boolean) => void;
  /** Shows a line among all others. */
  onOpen: (line: number) => void;
  /** Goes to the very end, or the beginning, of lines that are not all known yet. */
  onEnd: (end: boolean) => void;
  /** The line that is to be seen. */
  target: { line: number } | null;
  /** What is marked in the lines. */
  text: string;
  /** The steps whose labels stand in the lines; null where all lines are of one. */
  steps: Step[] | null;
  faint: ((line: Line) => boolean) | null;
}

const ROW = 17;

/** Lines of a log, of which only those that are seen exist. */
export function LogView(props: LogViewProps) {
  const { lines, live, follow, onFollow, chosen, onChoose, target, text, steps, faint } = props;
  const view = useRef<HTMLDivElement>(null);
  const last = useRef({ top: 0, height: 0 });
  const list = useVirtualizer({
    count: lines.count,
    getScrollElement: () => view.current,
    estimateSize: () => ROW,
    overscan: 20,
  });
  const shown = list.getVirtualItems();
  const [first, end] = [shown[0]?.index ?? 0, shown.at(-1)?.index ?? 0];
  useEffect(() => lines.see(first, end));

  useLayoutEffect(() => {
    if (!follow || lines.count === 0) return;
    lines.reach(Infinity);
    list.scrollToIndex(lines.count - 1, { align: "end" });
  }, [follow, lines.count, list]);

  // Lines that are found before those that are shown must not move them.
  const top = useRef<number | undefined>(undefined);
  const head = lines.line(0)?.line;
  useLayoutEffect(() => {
    const before = top.current;
    top.current = head;
    if (before === undefined || head === undefined || before <= head || follow || !view.current) return;
    view.current.scrollTop += lines.indexOf(before) * ROW;
  }, [head, follow, lines]);

  const seen = useRef<{ line: number } | null>(null);
  useEffect(() => {
    if (!target || seen.current === target || lines.count === 0 || !lines.reach(target.line)) return;
    const index = lines.indexOf(target.line);
    seen.current = target;
    const { startIndex = 0, endIndex = -1 } = list.range ?? {};
    if (index <= startIndex || index >= endIndex) list.scrollToIndex(index, { align: "center" });
  }, [target, lines, list]);

  const label = useMemo(() => new Map(steps?.map((each) => [each.name, each.label])), [steps]);
  const [low, high] = chosen ? [Math.min(chosen.from, chosen.to), Math.max(chosen.from, chosen.to)] : [0, -1];

  const onScroll = () => {
    const box = view.current;
    if (!box) return;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 4;
    if (atEnd && live) onFollow(true);
    else if (box.scrollTop < last.current.top && box.scrollHeight >= last.current.height) onFollow(false);
    last.current = { top: box.scrollTop, height: box.scrollHeight };
  };
  const choose = (index: number, extend: boolean) => {
    const bounded = Math.min(Math.max(index, 0), lines.count - 1);
    const line = lines.line(bounded);
    if (line) onChoose(line.line, extend);
    list.scrollToIndex(bounded, { align: "auto" });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const copying = event.key === "c" && (event.ctrlKey || event.metaKey);
    if (copying && chosen && !window.getSelection()?.toString()) props.onCopy();
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const here = chosen ? lines.indexOf(chosen.to) : (list.range?.startIndex ?? 0) - 1;
    const page = Math.max(1, Math.floor((view.current?.clientHeight ?? 0) / ROW) - 1);
    const by: Record<string, number> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page };
    const move = by[event.key];
    if (move !== undefined) choose(here + move, event.shiftKey);
    else if (event.key === "Home" || event.key === "End") {
      const end = event.key === "End";
      props.onEnd(end);
      lines.reach(end ? Infinity : 0);
      list.scrollToIndex(end ? lines.count - 1 : 0);
    } else if (event.key === "Enter" && chosen) props.onOpen(chosen.to);
    else if (event.key === "Escape" && chosen) props.onLeave();
    else if (event.key === "n" || event.key === "N") props.onJump(event.key === "N");
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const current = chosen ? lines.indexOf(chosen.to) : -1;
  return (
    <div
      ref={view}
      className="log-lines"
      role="listbox"
      aria-label="Log lines"
      aria-multiselectable
      aria-activedescendant={current >= first && current <= end && chosen ? `line-${chosen.to}` : undefined}
      tabIndex={0}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      <div role="presentation" style={{ height: list.getTotalSize(), position: "relative", minWidth: "max-content" }}>
        {shown.map(({ index, start }) => {
          const line = lines.line(index);
          if (!line) return <div key={index} className="log-line" role="presentation" style={{ top: start }} />;
          return (
            <div
              key={line.line}
              id={`line-${line.line}`}
              role="option"
              aria-selected={line.line >= low && line.line <= high}
              aria-setsize={lines.count}
              aria-posinset={index + 1}
              className={`log-line ${line.level} ${faint?.(line) ? "faint" : ""}`}
              style={{ top: start }}
              onClick={(event: MouseEvent) => {
                if (!window.getSelection()?.toString() || event.shiftKey) choose(index, event.shiftKey);
              }}
            >
              <span className="log-time" title={line.timestamp}>
                {clock(line.timestamp)}
              </span>
              <span className="log-level">{LEVEL_WORDS[line.level] ?? ""}</span>
              {steps && <span className="log-step">{label.get(String(line.context.step ?? "")) ?? ""}</span>}
              <span className="log-message">
                <Marked text={firstOf(line.message)} mark={text} />
              </span>
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** Levels that are worth a word. */
const LEVEL_WORDS: Record<string, string> = { debug: "debug", warning: "warn", error: "error", critical: "crit" };

/** A line for people, as the daemon writes it to a file. */
export function asText(line: Line): string {
  return `${line.timestamp}  ${line.level.padEnd(7)}  ${String(line.context.step ?? "").padEnd(16)}  ${line.message}`;
}

/** The time of day, here, to the millisecond. */
function clock(at: string): string {
  return `${timeOfDay(at)}.${String(new Date(at).getMilliseconds()).padStart(3, "0")}`;
}

/** Of a message of several lines the first; nobody reads more than so much in one row. */
function firstOf(message: string): string {
  const end = message.indexOf("\n");
  return end < 0 ? message.slice(0, 2000) : `${message.slice(0, Math.min(end, 2000))} ⏎`;
}

/** A text in which every occurrence of another one is marked. */
function Marked({ text, mark }: { text: string; mark: string }) {
  if (!mark) return text;
  const [lower, wanted] = [text.toLowerCase(), mark.toLowerCase()];
  const parts = [];
  let from = 0;
  for (let found = lower.indexOf(wanted); found >= 0; found = lower.indexOf(wanted, from)) {
    parts.push(text.slice(from, found), <mark key={found}>{text.slice(found, found + wanted.length)}</mark>);
    from = found + wanted.length;
  }
  return [...parts, text.slice(from)];
}
