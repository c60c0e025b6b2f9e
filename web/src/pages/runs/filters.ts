import type { paths } from "../../api/schema";

/** Which runs are shown, as the API takes it. */
export type Filters = Pick<
  NonNullable<paths["/api/v1/workspaces/{workspace}/runs"]["get"]["parameters"]["query"]>,
  "flow" | "group" | "status" | "trigger" | "text" | "since" | "until"
>;

export const STATES = [
  "queued", "starting", "running", "waiting", "cancelling", "succeeded", "failed", "rejected", "cancelled", "interrupted",
];

export const TRIGGERS = [
  { value: "manual", label: "by hand" },
  { value: "schedule", label: "by schedule" },
  { value: "file", label: "by files" },
  { value: "retry", label: "as a retry" },
];

export const PERIODS = [
  { value: "today", label: "Today" },
  { value: "24h", label: "Last 24 hours" },
  { value: "7d", label: "Last 7 days" },
  { value: "day", label: "One day…" },
];

/** Whether `when` is a day, such as 2026-03-01. */
export const isDay = (when: string | null): boolean => when !== null && /^\d{4}-\d\d-\d\d$/.test(when);

/** The day of a time, here. */
export const dayOf = (at: Date): string => [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((part) => String(part).padStart(2, "0")).join("-");

const NAMES = ["flow", "group", "status", "trigger", "text", "since", "until"] as const;
const HOUR = 3_600_000;

/** What an address asks for. `when` is today, 24h, 7d or a day (2026-03-01); `since` and `until` are times. */
export function filtersOf(address: URLSearchParams): Filters {
  const filters: Filters = {};
  for (const name of NAMES) {
    const value = address.get(name);
    if (value) filters[name] = value;
  }
  return { ...filters, ...spanOf(address.get("when")) };
}

function spanOf(when: string | null): Filters {
  const now = new Date();
  // To the minute, so that a page that is drawn again asks for the same.
  now.setSeconds(0, 0);
  if (when === "24h") return { since: new Date(now.getTime() - 24 * HOUR).toISOString() };
  if (when === "7d") return { since: new Date(now.getTime() - 7 * 24 * HOUR).toISOString() };
  const day = when === "today" ? now : isDay(when) ? new Date(`${when}T00:00`) : null;
  if (!day || Number.isNaN(day.getTime())) return {};
  day.setHours(0, 0, 0, 0);
  const next = new Date(day);
  next.setDate(day.getDate() + 1);
  return { since: day.toISOString(), until: next.toISOString() };
}
