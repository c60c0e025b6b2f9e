import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import type { LogLine } from "../../api/client";

/** A run's log, as it comes; `step` shows the lines of one step. Keeps to the end while it stands there. */
export function Log({ workspace, runId, step }: { workspace: string; runId: string; step: string | null }) {
  const [lines, setLines] = useState<LogLine[]>([]);
  const view = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);

  useEffect(() => {
    setLines([]);
    let waiting: LogLine[] = [];
    const source = new EventSource(`/api/v1/workspaces/${workspace}/runs/${runId}/log?follow=true`);
    source.addEventListener("item", (item) => waiting.push(JSON.parse(item.data) as LogLine));
    source.addEventListener("end", () => source.close());
    source.addEventListener("failure", () => source.close());
    const flush = window.setInterval(() => {
      if (waiting.length === 0) return;
      const more = waiting;
      waiting = [];
      setLines((known) => known.concat(more));
    }, 100);
    return () => {
      source.close();
      window.clearInterval(flush);
    };
  }, [workspace, runId]);

  const shown = step === null ? lines : lines.filter((line) => line.context.step === step);
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => view.current,
    estimateSize: () => 18,
    overscan: 30,
  });
  useEffect(() => {
    if (atEnd.current && shown.length > 0) rows.scrollToIndex(shown.length - 1, { align: "end" });
  }, [shown.length, rows]);

  return (
    <div
      ref={view}
      className="log"
      role="log"
      aria-label="Log lines"
      tabIndex={0}
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
        atEnd.current = scrollHeight - scrollTop - clientHeight < 24;
      }}
    >
      <div style={{ height: rows.getTotalSize(), position: "relative" }}>
        {rows.getVirtualItems().map((item) => {
          const line = shown[item.index];
          if (!line) return null;
          return (
            <div
              key={item.key}
              className={`line ${line.level}`}
              style={{ position: "absolute", top: item.start, left: 0, minWidth: "100%" }}
            >
              <span className="quiet">{line.timestamp.slice(11, 23)}</span>
              <span className="quiet">{String(line.context.step ?? "")}</span>
              <span>{line.message}</span>
            </div>
          );
        })}
      </div>
    </div>
  );
}
