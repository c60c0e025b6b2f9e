import type { Shape } from "../../api/client";

type Guide = Shape["GuideText"];

/** A place in a guide where something was found: below which heading, and the words around it. */
export interface Found {
  guide: string;
  title: string;
  heading: string;
  anchor: string;
  before: string;
  match: string;
  after: string;
}

const MOST = 60;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}#{1,6}[ \t]/;

/** The anchor of each heading, by the line that it stands on; the daemon lists them in this order. */
export function anchors({ text, headings }: Pick<Guide, "text" | "headings">): Map<number, string> {
  const found = new Map<number, string>();
  let fence = "";
  let next = 0;
  for (const [index, line] of text.split("\n").entries()) {
    const marks = FENCE.exec(line)?.[1];
    if (fence) {
      if (marks?.startsWith(fence) && line.trim() === marks) fence = "";
    } else if (marks) fence = marks;
    else if (HEADING.test(line)) {
      const heading = headings[next++];
      if (heading) found.set(index + 1, heading.anchor);
    }
  }
  return found;
}

/** The parts of guides in which all the words are said, each with the line that says most of them; headings that say them first. */
export function search(guides: readonly Guide[], wanted: string): Found[] {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const named: Found[] = [];
  const told: Found[] = [];
  for (const guide of guides)
    for (const { anchor, heading, lines } of parts(guide)) {
      const whole = lines.join("\n").toLowerCase();
      if (!words.every((word) => whole.includes(word))) continue;
      const score = (line: string) => words.filter((word) => line.toLowerCase().includes(word)).length;
      const best = lines.slice(1).reduce((best, line) => (score(line) > score(best) ? line : best), lines[0] ?? "");
      const found = { guide: guide.name, title: guide.title, heading, anchor, ...around(plain(best), words) };
      (score(heading) === words.length ? named : told).push(found);
    }
  return [...named, ...told].slice(0, MOST);
}

/** What stands below each heading, the heading itself first. */
function parts(guide: Guide): { anchor: string; heading: string; lines: string[] }[] {
  const at = anchors(guide);
  const names = new Map(guide.headings.map((each) => [each.anchor, each.text]));
  const found: { anchor: string; heading: string; lines: string[] }[] = [];
  for (const [index, line] of guide.text.split("\n").entries()) {
    const anchor = at.get(index + 1);
    if (anchor !== undefined) found.push({ anchor, heading: names.get(anchor) ?? "", lines: [line] });
    else found.at(-1)?.lines.push(line);
  }
  return found;
}

/** A line without the marks of Markdown. */
function plain(line: string): string {
  return line.replace(/^[#>\s|*-]+|[|\s]+$/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "");
}

/** The first of the words that a line says, and what stands around it. */
function around(line: string, words: string[]): Pick<Found, "before" | "match" | "after"> {
  const small = line.toLowerCase();
  const word = words.find((each) => small.includes(each)) ?? "";
  const start = Math.max(0, small.indexOf(word));
  const from = Math.max(0, start - 60);
  return {
    before: (from > 0 ? "…" : "") + line.slice(from, start),
    match: line.slice(start, start + word.length),
    after: line.slice(start + word.length, start + word.length + 100),
  };
}
