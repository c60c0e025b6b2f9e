import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import type { Run } from "../../api/client";
import { Trouble } from "../../parts/Trouble";
import { spanOf, ticks } from "./axis";
import { attempts, isOpen, items } from "./queries";
import { ItemRow, type Row, StepRow } from "./TimelineRow";

interface TimelineProps {
  workspace: string;
  run: Run;
  step: string | null;
  item: number | null;
  onChoose: (step: string | null, item: number | null) => void;
}

const ROW = 28;

/** The steps of a run in time; what is chosen here is what the right side is about. */
export function Timeline({ workspace, run, step, item, onChoose }: TimelineProps) {
  const view = useRef<HTMLDivElement>(null);
  const [opened, setOpened] = useState(item === null ? null : step);
  const span = spanOf(run, useNow(isOpen(run)));
  const map = run.steps.find((each) => each.name === opened);
  const parts = useInfiniteQuery({ ...items(workspace, run.id, map), enabled: map !== undefined });
  const again = run.steps.some((each) => each.attempt > 1) || run.attempt > 1;
  const moment = run.steps.map((each) => each.attempt).join();
  const tries = useQuery({ ...attempts(workspace, run, moment), enabled: again }).data?.steps;

  const rows = useMemo(
    () =>
      run.steps.flatMap((each): Row[] => {
        const row: Row = { key: each.name, step: each, item: null };
        const found = each.name === opened ? (parts.data?.pages.flatMap((page) => page.items) ?? []) : [];
        return [row, ...found.map((one) => ({ key: `${each.name} ${one.item}`, step: each, item: one }))];
      }),
    [run.steps, opened, parts.data],
  );
  const chosen = rows.findIndex((row) => row.step.name === step && (row.item?.item ?? null) === item);
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => view.current,
    estimateSize: () => ROW,
    overscan: 12,
    // The axis stands above the first row.
    scrollPaddingStart: ROW,
  });
  const shown = list.getVirtualItems();

  // More items are asked for once the last of those that are known is seen.
  const lastPart = parts.data?.pages.at(-1)?.items.at(-1);
  const { hasNextPage, isFetching, fetchNextPage } = parts;
  const short = hasNextPage && !isFetching && lastPart && shown.some((each) => rows[each.index]?.item === lastPart);
  useEffect(() => {
    if (short) void fetchNextPage();
  }, [short, fetchNextPage]);

  // What the address has chosen is seen; what is chosen here already is.
  const arrived = useRef(false);
  useEffect(() => {
    if (arrived.current || chosen < 0) return;
    arrived.current = true;
    list.scrollToIndex(chosen, { align: "auto" });
  }, [chosen, list]);

  const choose = (index: number) => {
    const row = rows[index];
    if (!row) return;
    arrived.current = true;
    onChoose(row.step.name, row.item?.item ?? null);
    list.scrollToIndex(index, { align: "auto" });
  };
  const turn = (name: string, open: boolean) => setOpened((before) => (open ? name : before === name ? null : before));
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const row = rows[chosen];
    const page = Math.max(1, Math.floor((view.current?.clientHeight ?? 0) / ROW) - 2);
    const to: Record<string, number> = {
      ArrowDown: chosen + 1,
      j: chosen + 1,
      ArrowUp: chosen < 0 ? rows.length - 1 : chosen - 1,
      k: chosen < 0 ? rows.length - 1 : chosen - 1,
      PageDown: Math.max(chosen, 0) + page,
      PageUp: Math.max(chosen, 0) - page,
      Home: 0,
      End: rows.length - 1,
    };
    const target = to[event.key];
    if (target !== undefined) choose(Math.min(Math.max(target, 0), rows.length - 1));
    else if (event.key === "Escape" && chosen >= 0) onChoose(null, null);
    else if (event.key === "ArrowRight" && row?.step.kind === "map") turn(row.step.name, true);
    else if (event.key === "ArrowLeft" && row) {
      turn(row.step.name, false);
      if (row.item) onChoose(row.step.name, null);
    } else return;
    event.preventDefault();
  };

  return (
    <div
      ref={view}
      className="timeline"
      role="treegrid"
      aria-label="Steps"
      aria-rowcount={rows.length}
      aria-activedescendant={chosen >= 0 && shown.some((each) => each.index === chosen) ? `row-${chosen}` : undefined}
      tabIndex={0}
      onKeyDown={onKeyDown}
    >
      <div className="axis" role="presentation">
        <span />
        <div className="axis-track">
          {run.steps.length > 0 &&
            ticks(span).map((tick) => (
              <span key={tick.name} style={{ left: `${tick.at}%` }}>
                {tick.name}
              </span>
            ))}
        </div>
      </div>
      <div role="presentation" style={{ height: list.getTotalSize(), position: "relative" }}>
        {shown.map(({ index, start }) => {
          const row = rows[index];
          if (!row) return null;
          const common = { index, top: start, chosen: index === chosen, onChoose: () => (index === chosen ? onChoose(null, null) : choose(index)) };
          return row.item ? (
            <ItemRow key={row.key} {...common} step={row.step} item={row.item} />
          ) : (
            <StepRow
              key={row.key}
              {...common}
              run={run}
              step={row.step}
              span={span}
              tries={again ? tries?.[row.step.index]?.attempts : undefined}
              opened={opened === row.step.name}
              onTurn={(open) => turn(row.step.name, open)}
            />
          );
        })}
      </div>
      {parts.error && <Trouble error={parts.error} />}
    </div>
  );
}

/** Now, four times a second while something is under way. */
function useNow(moving: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!moving) return;
    const clock = window.setInterval(() => setNow(Date.now()), 250);
    return () => window.clearInterval(clock);
  }, [moving]);
  return now;
}
