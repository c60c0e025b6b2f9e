import type { Body, Cell } from "./queries";

const HEAD = /^# %% \[(code|markdown|raw)\] (\S+)$/;

/** A body as one text: the cells of a notebook one below the other, each with a line that names it. */
export function asText(body: Body): string {
  if (body.cells === null) return body.text ?? "";
  return body.cells.map((cell) => `# %% [${cell.kind}] ${cell.id}\n${cell.source}`).join("\n\n");
}

/** The body that such a text says; what stands above the first line of a cell is a cell of its own. */
export function asBody(text: string, like: Body): Body {
  if (like.cells === null) return { text, cells: null };
  const cells: Cell[] = [];
  const known = new Set<string>();
  let lines: string[] | null = null;
  const end = () => {
    const cell = cells.at(-1);
    // The empty line between two cells is of neither.
    if (cell && lines) cell.source = (lines.at(-1) === "" ? lines.slice(0, -1) : lines).join("\n");
  };
  for (const line of text.split("\n")) {
    const head = HEAD.exec(line);
    if (head) {
      end();
      const id = head[2] && !known.has(head[2]) ? head[2] : newId();
      known.add(id);
      cells.push({ id, kind: head[1] as Cell["kind"], source: "" });
      lines = [];
    } else if (lines) lines.push(line);
    else if (line !== "") {
      cells.push({ id: newId(), kind: "code", source: "" });
      lines = [line];
    }
  }
  // The last cell has no line after it that would be of neither.
  const last = cells.at(-1);
  if (last && lines) last.source = lines.join("\n");
  return { text: null, cells };
}

/** The name of a cell that is not in the file yet. */
export const newId = (): string => crypto.randomUUID().slice(0, 8);
