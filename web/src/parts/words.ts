/** Durations as people say them: 42 ms, 1.2 s, 3 m 04 s, 2 h 05 m. */
export function duration(milliseconds: number | null | undefined): string {
  if (milliseconds == null) return "";
  if (milliseconds > 0 && milliseconds < 0.5) return "< 1 ms";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  if (minutes < 60) return `${minutes} m ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
}

/** How long ago something was. */
export function ago(at: string, now: number): string {
  const seconds = Math.max(0, (now - Date.parse(at)) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  if (days > 60) return new Date(at).toLocaleDateString(undefined, { dateStyle: "medium" });
  return days === 1 ? "yesterday" : `${days} days ago`;
}

/** How long until something is due. */
export function ahead(at: string, now: number): string {
  const seconds = (Date.parse(at) - now) / 1000;
  if (seconds < 60) return seconds < 5 ? "now" : `in ${Math.floor(seconds)} s`;
  if (seconds < 3600) return `in ${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `in ${Math.round(seconds / 3600)} h`;
  return `in ${Math.round(seconds / 86_400)} days`;
}

export function exact(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
}

export const timeOfDay = (at: string): string => new Date(at).toTimeString().slice(0, 8);

export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number.toLocaleString()} ${number === 1 ? noun : plural}`;
}

/** The last eight characters tell runs apart. */
export const shortId = (id: string): string => id.slice(-8);

/** A path as people know it: from the workspace, or from the folder that it lies in. */
export function place(path: string, root: string): string {
  const above = root.slice(0, root.lastIndexOf("/"));
  if (path === root) return ".";
  if (path.startsWith(`${root}/`)) return path.slice(root.length + 1);
  return above && path.startsWith(`${above}/`) ? path.slice(above.length + 1) : path;
}

/** What went wrong, with the kind of exception where an author's code raised it. */
export function said(error: { code: string; message: string; type?: string | null }): string {
  const { code, message, type } = error;
  const raised = ["step-failed", "item-failed", "map-item-failed", "module-error"].includes(code);
  return raised && type && !message.startsWith(type) ? `${type}: ${message}` : message;
}

/** A long text shortened in its middle: where a path begins, and its end, tell the most. */
export function middle(text: string, most: number): string {
  const start = Math.floor(most / 3);
  return text.length <= most ? text : `${text.slice(0, start)}…${text.slice(start + 1 - most)}`;
}

/** A size as people say it: 812 B, 3.4 MB. */
export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  const power = Math.min(4, Math.floor(Math.log10(size) / 3));
  const value = size / 1000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}
