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

/** Where all the words are said: headings first, then lines, in the order of the guides. */
export function search(guides: readonly Guide[], wanted: string): Found[] {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const headings: Found[] = [];
  const lines: Found[] = [];
  for (const guide of guides) {
    const named = new Map(guide.headings.map((each) => [each.anchor, each.text]));
    const at = anchors(guide);
    let anchor = "";
    for (const [index, line] of guide.text.split("\n").entries()) {
      const own = at.get(index + 1);
      anchor = own ?? anchor;
      const said = line.toLowerCase();
      if (!words.every((word) => said.includes(word))) continue;
      const plain = line.replace(/^[#>\s|*-]+|[|\s]+$/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "");
      const start = plain.toLowerCase().indexOf(words[0] ?? "");
      if (start < 0) continue;
      const from = Math.max(0, start - 60);
      const end = start + (words[0]?.length ?? 0);
      (own ? headings : lines).push({
        guide: guide.name,
        title: guide.title,
        heading: named.get(anchor) ?? "",
        anchor,
        before: (from > 0 ? "…" : "") + plain.slice(from, start),
        match: plain.slice(start, end),
        after: plain.slice(end, end + 100),
      });
    }
  }
  return [...headings, ...lines].slice(0, MOST);
}
