import type { Run } from "../../api/client";
import type { Step } from "./queries";

/** The stretch of time that a timeline shows, in milliseconds since 1970. */
export interface Span {
  from: number;
  to: number;
}

/** From the first thing that the run did to its end, or to now. What a retry took over happened before. */
export function spanOf(run: Run, now: number): Span {
  const begun = run.steps.filter((step) => step.started_at && !isTakenOver(run, step));
  const first = Math.min(...begun.map((step) => time(step.started_at)));
  const from = Number.isFinite(first) ? first : time(run.started_at ?? run.queued_at);
  const ends = begun.map((step) => time(step.finished_at));
  const open = run.finished_at === null && run.status !== "interrupted";
  return { from, to: Math.max(from + 1, open ? now : 0, ...ends) };
}

/** Whether a step's outcome is that of the run that this one retries. */
export function isTakenOver(run: Run, step: Step): boolean {
  return run.retry_of !== null && step.finished_at !== null && time(step.finished_at) < time(run.queued_at);
}

/** Where a bar begins and how long it is, as parts of the span. */
export function place(span: Span, from: string | null, to: string | null): { left: string; width: string } {
  const part = (at: number) => (100 * (Math.min(Math.max(at, span.from), span.to) - span.from)) / (span.to - span.from);
  const left = part(time(from));
  return { left: `${left}%`, width: `${part(to ? time(to) : span.to) - left}%` };
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5];

/** At most five round moments of a span, counted from its beginning. */
export function ticks(span: Span): { at: number; name: string }[] {
  const length = span.to - span.from;
  const step = STEPS.find((each) => length / each <= 5) ?? 864e5 * Math.ceil(length / 5 / 864e5);
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, index) => ({
    at: (100 * index * step) / length,
    name: index === 0 ? "0" : short(index * step),
  }));
}

function short(milliseconds: number): string {
  for (const [unit, size] of [["d", 864e5], ["h", 36e5], ["min", 6e4], ["s", 1e3]] as const)
    if (milliseconds >= size) return `${Math.round((10 * milliseconds) / size) / 10} ${unit}`;
  return `${milliseconds} ms`;
}

function time(at: string | null): number {
  return at === null ? 0 : Date.parse(at);
}
