import { IconBraces, IconFile, IconFileText, IconFileTypePdf, IconFolder, IconLink, IconMarkdown, IconPhoto, IconTable, IconWorld } from "../../parts/icons";
import { type KeyboardEvent, useState } from "react";
import { Link, useNavigate } from "react-router";
import { useRowHeight, useRows } from "../../parts/rows";
import { Ago } from "../../parts/Times";
import { bytes } from "../../parts/words";
import type { Entry } from "./queries";

const HEADER = 28;
const ICONS: Record<string, typeof IconFile> = {
  folder: IconFolder, table: IconTable, image: IconPhoto, text: IconFileText, markdown: IconMarkdown, html: IconWorld, pdf: IconFileTypePdf,
  json: IconBraces, link: IconLink,
};

/** Files and folders, of which only those in view are there; keys move, Enter opens. */
export function FileList({ entries, to, up }: { entries: Entry[]; to: (entry: Entry) => string | null; up: string | null }) {
  const navigate = useNavigate();
  const height = useRowHeight();
  const rows = useRows(entries.length, height, HEADER);
  const [active, setActive] = useState(0);
  const [focused, setFocused] = useState(false);
  const pressed = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== event.currentTarget) return;
    const moves: Record<string, number> = {
      ArrowDown: active + 1, j: active + 1, ArrowUp: active - 1, k: active - 1, PageDown: active + rows.fit - 1, PageUp: active - rows.fit + 1,
      Home: 0, End: entries.length - 1,
    };
    const next = moves[event.key];
    if (next !== undefined) {
      const row = Math.max(0, Math.min(next, entries.length - 1));
      setActive(row);
      rows.show(row);
    } else if (event.key === "Enter") {
      const entry = entries[active];
      const address = entry && to(entry);
      if (address) void navigate(address);
    } else if (event.key === "Backspace" && up) void navigate(up);
    else if (event.key === "Escape" && event.currentTarget instanceof HTMLElement) event.currentTarget.blur();
    else return;
    event.preventDefault();
  };
  return (
    <div
      ref={rows.scroller} className="files" role="grid" tabIndex={0} aria-label="Files" aria-rowcount={entries.length + 1}
      aria-activedescendant={entries.length > 0 ? `file-${active}` : undefined} onKeyDown={pressed} onFocus={() => setFocused(true)} onBlur={() => setFocused(false)}
    >
      <div role="rowgroup" className="files-head" style={{ height: HEADER }}>
        <div role="row" aria-rowindex={1} className="files-row">
          <span role="columnheader">Name</span>
          <span role="columnheader" className="right">Size</span>
          <span role="columnheader">Changed</span>
        </div>
      </div>
      <div role="rowgroup" style={{ height: rows.tall, position: "relative" }}>
        <div role="presentation" style={{ position: "absolute", insetInline: 0, transform: `translateY(${rows.above}px)` }}>
          {entries.slice(rows.first, rows.last).map((entry, index) => {
            const row = rows.first + index;
            const Icon = ICONS[entry.kind] ?? IconFile;
            const address = to(entry);
            return (
              <div key={entry.path} id={`file-${row}`} role="row" aria-rowindex={row + 2} className={`files-row ${focused && row === active ? "active" : ""}`} style={{ height }}>
                <span role="gridcell" className="files-name">
                  <Icon size={16} stroke={1.5} className="quiet" aria-label={entry.kind} />
                  {address ? (
                    <Link to={address} tabIndex={-1}>
                      {entry.name}
                    </Link>
                  ) : (
                    <span className="quiet">{entry.name}</span>
                  )}
                </span>
                <span role="gridcell" className="right mono quiet">
                  {entry.size === null ? "" : bytes(entry.size)}
                </span>
                <span role="gridcell" className="quiet">
                  <Ago at={entry.modified_at} />
                </span>
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
