import type { Shape } from "../api/client";
import { place } from "./words";

/** When a flow runs, in words: "when files arrive in inbox", "every 15 min", "at 08:15 and 14:45". */
export function trigger(given: Shape["Trigger"] | null, root: string): string {
  if (!given || given.mode === "manual") return "by hand";
  const whole = given.run_as === "batch" ? ", whole folder" : "";
  if (given.mode === "poll") return `when files arrive in ${given.source ? place(given.source, root) : "its folder"}${whole}`;
  const zone = given.timezone ? ` (${given.timezone})` : "";
  if (given.interval) return `every ${span(given.interval)}${whole}`;
  if (given.time.length > 0) return `at ${listed(given.time)}${zone}${whole}`;
  return `on ${given.cron ?? "its schedule"}${zone}${whole}`;
}

function span(seconds: number): string {
  for (const [unit, size] of [["d", 86_400], ["h", 3600], ["min", 60]] as const)
    if (seconds >= size && seconds % size === 0) return seconds === size ? unit : `${seconds / size} ${unit}`;
  return seconds < 1 ? `${seconds * 1000} ms` : `${seconds} s`;
}

function listed(words: string[]): string {
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
