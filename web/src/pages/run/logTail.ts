import { useEffect, useRef, useState } from "react";
import type { LogLine } from "../../api/client";
import type { Extent, Line } from "./logLines";

/** What came to a log since it was opened: lines from number `start` to below `end`. */
export interface Tail {
  start: number;
  end: number;
  lines: Line[];
  /** More may come. */
  live: boolean;
}

/** So many new lines are kept here; those before them are read again when somebody looks at them. */
const KEPT = 20_000;

/** The lines that come to the log of an open run, from the last one that was there on. */
export function useTail(workspace: string, runId: string, open: boolean, extent: Extent): Tail {
  const { total, seq } = extent;
  const [grown, setGrown] = useState<Tail | null>(null);
  const last = useRef<number | null>(null);
  const [following, setFollowing] = useState(open);
  // A run that is resumed has more to say.
  useEffect(() => {
    if (open) setFollowing(true);
  }, [open]);

  useEffect(() => {
    if (!following || seq === null) return;
    last.current ??= seq;
    const source = new EventSource(`/api/v1/workspaces/${workspace}/runs/${runId}/log?follow=true&after=${last.current}`);
    let waiting: LogLine[] = [];
    const put = (live: boolean) => {
      const more = waiting;
      waiting = [];
      setGrown((before) => {
        const known = before ?? { start: total, end: total, lines: [], live: true };
        if (more.length === 0 && known.live === live) return known;
        const lines = known.lines.concat(more.map((line, index) => ({ ...line, line: known.end + index })));
        const dropped = lines.length > 2 * KEPT ? lines.length - KEPT : 0;
        return { start: known.start + dropped, end: known.end + more.length, lines: lines.slice(dropped), live };
      });
    };
    const clock = window.setInterval(() => put(true), 100);
    const end = () => {
      window.clearInterval(clock);
      source.close();
      put(false);
    };
    source.addEventListener("item", (item) => {
      const line = JSON.parse(item.data) as LogLine;
      last.current = line.seq;
      waiting.push(line);
    });
    for (const name of ["end", "failure"])
      source.addEventListener(name, () => {
        end();
        setFollowing(false);
      });
    return end;
  }, [workspace, runId, following, total, seq]);
  return grown ?? { start: total, end: total, lines: [], live: open };
}
