import { keepPreviousData, useInfiniteQuery, useQueries, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { api, type Shape, take } from "../../api/client";
import type { Tail } from "./logTail";

export type Line = Shape["NumberedLine"];

/** Which lines of a log are wanted; all of them when nothing is said. */
export interface Wanted {
  step: string | null;
  level: string | null;
  text: string;
}

/** Lines to show, by their place in the list. */
export interface Lines {
  count: number;
  line: (index: number) => Line | undefined;
  /** The place in the list of the line with this number, or of the first one after it. */
  indexOf: (number: number) => number;
  /** Says what is seen, so that it is there. */
  see: (first: number, last: number) => void;
  /** Whether the list has the line with this number; where it is too far away, it will have it soon. */
  reach: (number: number) => boolean;
  /** What part of the log has not been looked through yet. */
  ahead: number;
  loading: boolean;
  error: Error | null;
}

const PAGE = 250;
/** So many lines are in reach of one scroll bar: browsers draw nothing beyond some 17,800,000 pixels. */
const MOST = 1_040_000;
const LEVELS = ["debug", "info", "warning", "error", "critical"];
const linesKey = (workspace: string, runId: string, page: number, size: number) => ["log", workspace, runId, "lines", page, size];
const at = (workspace: string, runId: string) => ({ path: { workspace, run_id: runId } });

/** Lines by number, however long they are. */
export async function read(workspace: string, runId: string, start: number, limit: number, signal?: AbortSignal): Promise<Line[]> {
  const lines: Line[] = [];
  for (let next = start; next < start + limit; ) {
    const query = { start: next, limit: start + limit - next };
    const window = await take(
      api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/log/lines", { params: { ...at(workspace, runId), query }, signal }),
    );
    lines.push(...window.lines);
    if (window.end <= next) break;
    next = window.end;
  }
  return lines;
}

/** The nearest line that is wanted, from number `start` on or, backward, before it; null where there is none. */
export async function nearest(workspace: string, runId: string, wanted: Wanted, start: number, backward: boolean): Promise<Line | null> {
  for (let next: number | null = start; next !== null; ) {
    const found: Shape["LogHits"] = await search(workspace, runId, wanted, next, backward, 1);
    if (found.lines[0]) return found.lines[0];
    next = found.next;
  }
  return null;
}

function search(workspace: string, runId: string, wanted: Wanted, start: number | null, backward: boolean, limit: number, signal?: AbortSignal) {
  const query = {
    step: wanted.step ?? undefined,
    level: wanted.level ?? undefined,
    text: wanted.text || undefined,
    start: start ?? undefined,
    backward,
    limit,
  };
  return take(
    api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/log/search", { params: { ...at(workspace, runId), query }, signal }),
  );
}

/** Whether a line that just came is wanted; the daemon tells it of all others. */
export function matches(line: Line, wanted: Wanted): boolean {
  if (wanted.step !== null && line.context.step !== wanted.step) return false;
  const rank = (level: string) => Math.max(0, LEVELS.includes(level) ? LEVELS.indexOf(level) : 1);
  if (wanted.level !== null && rank(line.level) < rank(wanted.level)) return false;
  return line.message.toLowerCase().includes(wanted.text.toLowerCase());
}

/** How many lines a log has, and the `seq` of its last one; null while they are being counted, and there are more. */
export interface Extent {
  total: number;
  seq: number | null;
}

/** The extent of a log when it is first looked at. Its first lines come before a long one is counted. */
export function useExtent(workspace: string, runId: string): { data: Extent | undefined; error: Error | null } {
  const linesFrom = (start: number, limit: number) =>
    take(api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/log/lines", { params: { ...at(workspace, runId), query: { start, limit } } }));
  const first = useQuery({
    queryKey: ["log", workspace, runId, "first"],
    queryFn: async ({ client }) => {
      const { lines, end, total, exact } = await linesFrom(0, PAGE);
      if (end === Math.min(PAGE, total)) client.setQueryData(linesKey(workspace, runId, 0, end), lines);
      return { total, seq: exact && end === total ? (lines.at(-1)?.seq ?? 0) : null };
    },
    staleTime: Infinity,
    gcTime: 0,
  });
  const counted = useQuery({
    queryKey: ["log", workspace, runId, "extent"],
    queryFn: async () => {
      const { lines, total } = await linesFrom(-1, 1);
      return { total, seq: lines[0]?.seq ?? 0 };
    },
    enabled: first.data?.seq === null,
    staleTime: Infinity,
    gcTime: 0,
  });
  return { data: counted.data ?? first.data, error: first.error ?? counted.error };
}

/** Every line of a log, in windows around what is seen; new ones come at the end. */
export function useWholeLog(workspace: string, runId: string, tail: Tail, enabled: boolean): Lines {
  const [seen, setSeen] = useState({ first: 0, last: 0 });
  const [wished, setWished] = useState(tail.live ? Infinity : 0);
  const offset = Math.max(0, Math.min(wished, tail.end - MOST));
  const lines = Math.min(tail.end, MOST);
  const before = tail.start;
  const pages: number[] = [];
  if (enabled && before > 0)
    for (let page = seen.first; page <= Math.min(seen.last, Math.floor((before - 1) / PAGE)); page++) pages.push(page);
  const found = useQueries({
    queries: pages.map((page) => {
      const size = Math.min(PAGE, before - page * PAGE);
      return {
        queryKey: linesKey(workspace, runId, page, size),
        queryFn: ({ signal }: { signal: AbortSignal }) => read(workspace, runId, page * PAGE, size, signal),
        staleTime: Infinity,
        gcTime: 30_000,
        placeholderData: keepPreviousData,
      };
    }),
  });
  const known = useMemo(() => {
    const lines = new Map<number, Line>();
    for (const page of found) for (const line of page.data ?? []) lines.set(line.line, line);
    return lines;
  }, [found]);
  const clock = useRef<number | undefined>(undefined);
  useEffect(() => () => window.clearTimeout(clock.current), []);
  return {
    count: lines,
    line: (index) => (index + offset >= before ? tail.lines[index + offset - before] : known.get(index + offset)),
    indexOf: (number) => Math.min(Math.max(number - offset, 0), lines - 1),
    reach: (number) => {
      const inside = number >= offset && (number < offset + lines || tail.end === 0);
      if (!inside) setWished(number === Infinity ? number : Math.max(0, Math.round(number - MOST / 2)));
      return inside;
    },
    see: (first, last) => {
      // Whoever looks at what came before the end keeps it under the eyes.
      if (wished === Infinity && last < lines - 100) setWished(offset);
      const wanted = { first: Math.floor((first + offset) / PAGE), last: Math.floor((last + offset) / PAGE) };
      if (wanted.first === seen.first && wanted.last === seen.last) return;
      // What is only flown over is not asked for.
      window.clearTimeout(clock.current);
      const near = Math.abs(wanted.first - seen.first) <= 1;
      clock.current = window.setTimeout(() => setSeen(wanted), near ? 0 : 60);
    },
    ahead: 0,
    loading: false,
    error: found.find((page) => page.error)?.error ?? null,
  };
}

interface Found {
  lines: Line[];
  next: number | null;
  /** Where the search had come to, as a part of the log. */
  at: number;
}

/** The lines that are wanted, as the daemon finds them: from the beginning on, or back from the end. */
export function useFoundLines(workspace: string, runId: string, wanted: Wanted, tail: Tail, fromEnd: boolean, enabled: boolean): Lines {
  const [near, setNear] = useState(true);
  // What stands before the tail is looked for by the daemon, the tail itself here: nothing is missing, and nothing twice.
  const before = tail.start;
  const found = useInfiniteQuery({
    queryKey: ["log", workspace, runId, "found", wanted, fromEnd, before],
    queryFn: async ({ pageParam, signal }): Promise<Found> => {
      let lines: Line[] = [];
      let next: number | null = pageParam;
      // The daemon looks for a moment at a time; what is found is shown from time to time.
      for (const until = Date.now() + 400; next !== null && lines.length < PAGE && Date.now() < until; ) {
        const hits: Shape["LogHits"] = await search(workspace, runId, wanted, next, fromEnd, PAGE, signal);
        lines = fromEnd ? hits.lines.concat(lines) : lines.concat(hits.lines);
        next = hits.next !== null && hits.next < before ? hits.next : null;
      }
      return { lines: lines.filter((line) => line.line < before), next, at: (next ?? 0) / (before || 1) };
    },
    initialPageParam: fromEnd ? before : 0,
    getNextPageParam: (page) => page.next ?? undefined,
    enabled,
    staleTime: Infinity,
    gcTime: 30_000,
  });
  const { hasNextPage, isFetching, fetchNextPage } = found;
  useEffect(() => {
    if (enabled && near && hasNextPage && !isFetching) void fetchNextPage();
  }, [enabled, near, hasNextPage, isFetching, fetchNextPage]);

  const lines = useMemo(() => {
    const pages = found.data?.pages ?? [];
    const all = (fromEnd ? pages.toReversed() : pages).flatMap((page) => page.lines);
    return fromEnd || !hasNextPage ? all.concat(tail.lines.filter((line) => matches(line, wanted))) : all;
  }, [found.data, fromEnd, hasNextPage, tail.lines, wanted]);
  const last = found.data?.pages.at(-1);
  return {
    count: lines.length,
    line: (index) => lines[index],
    indexOf: (number) => {
      const index = lines.findIndex((line) => line.line >= number);
      return index < 0 ? lines.length - 1 : index;
    },
    reach: () => true,
    see: (first, end) => setNear(fromEnd ? first < 100 : end > lines.length - 100),
    ahead: hasNextPage && last ? (fromEnd ? last.at : 1 - last.at) : 0,
    loading: isFetching && (near || lines.length === 0),
    error: found.error,
  };
}
