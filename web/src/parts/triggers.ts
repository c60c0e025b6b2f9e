import type { Shape } from "../api/client";
import { cronInWords, listed } from "./cron";
import { place } from "./words";

type Trigger = Shape["Trigger"];

/** When a flow runs, in few words: "when files arrive in inbox", "every 15 min", "every weekday 08:15". */
export function trigger(given: Trigger | null, root: string): string {
  if (!given || given.mode === "manual") return "by hand";
  const whole = given.run_as === "batch" && given.source ? ", whole folder" : "";
  if (given.mode === "poll") return `when files arrive in ${folder(given, root)}${whole}`;
  return `${slots(given)}${whole}`;
}

const MISSED: Record<string, string> = {
  latest: "missed slots run once",
  skip: "missed slots are skipped",
  all: "each missed slot runs",
};

/** The same with all that its author said: "every weekday 08:15 (Europe/Paris), missed slots run once". */
export function triggerInFull(given: Trigger | null, root: string): string {
  if (!given) return "";
  const each = !given.source ? "" : given.run_as === "batch" ? "one run for the whole folder" : "one run for each file";
  const many = given.max_parallel > 1 && each ? `${each}, up to ${given.max_parallel} at once` : each;
  const kinds = given.extensions.length > 0 ? `${listed(given.extensions)} files` : "files";
  if (given.mode === "poll")
    return [
      `when ${kinds} arrive in ${folder(given, root)}`,
      given.interval ? `looked at every ${span(given.interval)}` : "",
      settled(given.settle),
      many,
    ]
      .filter(Boolean)
      .join(", ");
  const from = given.source ? `with ${kinds} from ${folder(given, root)}` : "";
  const begin = given.mode === "manual" ? ["by hand"] : [slots(given), MISSED[given.missed] ?? ""];
  return [...begin, from, many].filter(Boolean).join(", ");
}

function slots(given: Trigger): string {
  const zone = given.timezone ? ` (${given.timezone})` : "";
  if (given.interval) return `every ${span(given.interval)}`;
  if (given.time.length > 0) return `every day ${listed(given.time)}${zone}`;
  return `${given.cron ? (cronInWords(given.cron) ?? `by cron ${given.cron}`) : "on its schedule"}${zone}`;
}

const folder = (given: Trigger, root: string) => (given.source ? place(given.source, root) : "its folder");

function settled(settle: Trigger["settle"]): string {
  if (settle?.seconds) return `once unchanged for ${span(settle.seconds)}`;
  return settle?.looks && settle.looks > 1 ? `once unchanged for ${settle.looks} looks` : "";
}

/** A span of time: "15 min", and "day" for a single one, as in "every day". */
export function span(seconds: number): string {
  for (const [unit, size] of [["day", 86_400], ["h", 3600], ["min", 60]] as const)
    if (seconds >= size && seconds % size === 0) {
      const many = seconds / size;
      return many === 1 ? (unit === "h" ? "hour" : unit === "min" ? "minute" : unit) : `${many} ${unit === "day" ? "days" : unit}`;
    }
  return seconds < 1 ? `${seconds * 1000} ms` : `${seconds} s`;
}
