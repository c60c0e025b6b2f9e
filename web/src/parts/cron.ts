const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January", "February", "March", "April", "May", "June",
  "July", "August", "September", "October", "November", "December",
];

/** A cron expression in words, such as "every weekday 08:15"; null for those that are not common. */
export function cronInWords(expression: string): string | null {
  const fields = expression.trim().split(/\s+/);
  if (fields.length !== 5) return null;
  const [minute = "", hour = "", date = "", month = "", weekday = ""] = fields;
  const when = times(minute, hour);
  const on = days(date, month, weekday);
  if (!when || on === null) return null;
  if (when.repeats) return on === "every day" ? when.words : `${on}, ${when.words}`;
  return `${on} ${when.words}`;
}

function times(minute: string, hour: string): { words: string; repeats: boolean } | null {
  const each = /^\*\/(\d+)$/.exec(minute);
  const often = minute === "*" ? "every minute" : each ? `every ${each[1]} min` : null;
  const span = /^(\d+)-(\d+)$/.exec(hour);
  if (often) {
    if (hour === "*") return { words: often, repeats: true };
    if (span) return { words: `${often} from ${clock(span[1], 0)} to ${clock(span[2], 59)}`, repeats: true };
    return null;
  }
  const minutes = numbers(minute, 0, 59);
  if (!minutes) return null;
  const past = minutes.every((value) => value === 0) ? "" : ` at ${listed(minutes.map((value) => `:${two(value)}`))}`;
  if (hour === "*") return { words: past ? `every hour${past}` : "every hour", repeats: true };
  const every = /^\*\/(\d+)$/.exec(hour);
  if (every) return { words: `every ${every[1]} h${past}`, repeats: true };
  const [only] = minutes;
  if (span && minutes.length === 1)
    return { words: `every hour from ${clock(span[1], only)} to ${clock(span[2], only)}`, repeats: true };
  const hours = numbers(hour, 0, 23);
  if (!hours || hours.length * minutes.length > 8) return null;
  return { words: listed(hours.flatMap((h) => minutes.map((m) => clock(h, m)))), repeats: false };
}

/** The days on which it is due; null for what is not common, such as a date and a weekday together. */
function days(date: string, month: string, weekday: string): string | null {
  const months = month === "*" ? "" : named(month, MONTHS, 1);
  if (months === null) return null;
  if (weekday !== "*" && weekday !== "?") {
    if (date !== "*" && date !== "?") return null;
    const on = weekdays(weekday);
    return on && (months ? `${on} in ${months}` : on);
  }
  if (date === "*" || date === "?") return months ? `every day in ${months}` : "every day";
  const last = date === "L" ? "the last day" : null;
  const dates = last ? null : numbers(date, 1, 31);
  if (!last && !dates) return null;
  const told = last ?? `the ${listed((dates ?? []).map(ordinal))}`;
  return `on ${told} of ${months || "every month"}`;
}

function weekdays(field: string): string | null {
  const chosen = new Set<number>();
  for (const part of field.toUpperCase().split(",")) {
    const [from, to] = part.split("-");
    const begin = dayOf(from);
    const end = to === undefined ? begin : dayOf(to);
    if (begin === null || end === null) return null;
    for (let day = begin; ; day++) {
      chosen.add(day % 7);
      if (day % 7 === end % 7) break;
    }
  }
  const inOrder = [1, 2, 3, 4, 5, 6, 0].filter((day) => chosen.has(day));
  if (inOrder.length === 7) return "every day";
  if (inOrder.join() === "1,2,3,4,5") return "every weekday";
  if (inOrder.join() === "6,0") return "every Saturday and Sunday";
  return `every ${listed(inOrder.map((day) => DAYS[day] ?? ""))}`;
}

function dayOf(word: string | undefined): number | null {
  if (word === undefined) return null;
  if (/^[0-7]$/.test(word)) return Number(word);
  const found = DAYS.findIndex((day) => day.slice(0, 3).toUpperCase() === word);
  return found < 0 ? null : found;
}

function named(field: string, names: string[], first: number): string | null {
  const found = field.split(",").map((part) => {
    const byName = names.findIndex((name) => name.slice(0, 3).toUpperCase() === part.toUpperCase());
    return names[/^\d+$/.test(part) ? Number(part) - first : byName];
  });
  return found.every((name) => name !== undefined) ? listed(found) : null;
}

function numbers(field: string, least: number, most: number): number[] | null {
  const parts = field.split(",");
  if (!parts.every((part) => /^\d+$/.test(part))) return null;
  const found = parts.map(Number);
  return found.every((value) => value >= least && value <= most) ? found.toSorted((one, other) => one - other) : null;
}

function ordinal(value: number): string {
  const ending = value % 100 > 10 && value % 100 < 14 ? "th" : (["th", "st", "nd", "rd"][value % 10] ?? "th");
  return `${value}${ending}`;
}

const two = (value: number | string | undefined) => String(value ?? 0).padStart(2, "0");
const clock = (hour: number | string | undefined, minute: number | string | undefined) => `${two(hour)}:${two(minute)}`;

/** Words with commas and a last "and". */
export function listed(words: string[]): string {
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
