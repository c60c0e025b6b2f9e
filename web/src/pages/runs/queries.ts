import { keepPreviousData, queryOptions, useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { api, type Run, take } from "../../api/client";
import { type Change, fold, streamOf, useChanges } from "../../api/live";
import { renew } from "../../api/queries";
import type { Filters } from "./filters";

/** Runs of one page of the list. */
export const PAGE = 100;
const MILLISECONDS_BETWEEN_LOOKS = 500;

interface Page {
  runs: Run[];
  /** Whether there are more behind it. */
  more: boolean;
  cursor: number;
  total: number;
  exact: boolean;
}

interface Asked {
  cursor?: number;
  offset?: number;
  limit?: number;
  count?: boolean;
  signal?: AbortSignal;
}

/** Runs that pass the filters; an answer may be short because it looks for a moment only, so it is asked on. */
export async function look(workspace: string, filters: Filters, asked: Asked): Promise<Page> {
  const { signal, limit = PAGE, ...first } = asked;
  const stream = streamOf(workspace);
  const since = stream.seen;
  const ask = (query: Filters & { cursor?: number; offset?: number; limit: number; count?: boolean }) =>
    take(
      api.GET("/api/v1/workspaces/{workspace}/runs", {
        params: { path: { workspace }, query: { ...filters, ...query, steps: false } },
        signal,
      }),
    );
  const answer = await ask({ ...first, limit });
  const runs = [...answer.runs];
  let { next, left } = answer;
  while (next !== null && runs.length < limit) {
    const more = await ask({ cursor: next, offset: left, limit: limit - runs.length });
    runs.push(...more.runs);
    ({ next, left } = more);
  }
  return {
    // Race: some may have changed while the answer was on its way.
    runs: runs.map((run) => stream.newest(run, since)),
    more: next !== null,
    cursor: answer.cursor,
    total: answer.total ?? 0,
    exact: answer.total_exact ?? false,
  };
}

const newest = (workspace: string, filters: Filters) =>
  queryOptions({
    queryKey: [workspace, "runs", "newest", filters],
    queryFn: ({ signal }) => look(workspace, filters, { count: true, signal }),
    placeholderData: keepPreviousData,
  });

const page = (workspace: string, filters: Filters, cursor: number, number: number) =>
  queryOptions({
    queryKey: [workspace, "runs", "page", filters, cursor, number],
    queryFn: ({ signal }) => look(workspace, filters, { cursor, offset: number * PAGE, signal }),
    // What changes comes by itself, row by row.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });

export interface RunList {
  /** How many runs there are; at least so many when not `exact`. */
  count: number;
  exact: boolean;
  error: Error | null;
  loading: boolean;
  /** The cursor from which the list is shown: what has come since stands above it. */
  cursor: number;
  /** How many have come since, and whether these are all that are known. */
  fresh: number;
  /** Shows them. */
  renew: () => void;
}

/** The list as it was when it was first shown, and what has come since. `steady` keeps it from renewing itself. */
export function useRunList(workspace: string, filters: Filters, steady: boolean): RunList {
  const client = useQueryClient();
  const found = useQuery(newest(workspace, filters));
  const [shown, setShown] = useState<{ key: string; page: Page } | null>(null);
  const key = JSON.stringify([workspace, filters]);
  const latest = found.isPlaceholderData ? undefined : found.data;
  const renew = useCallback(() => {
    if (!latest) return;
    client.setQueryData(page(workspace, filters, latest.cursor, 0).queryKey, latest);
    setShown({ key, page: latest });
  }, [client, filters, key, latest, workspace]);
  const unshown = shown?.key !== key;
  useEffect(() => {
    if (latest && (unshown || !steady)) renew();
  }, [latest, renew, steady, unshown]);

  const [top] = shown?.page.runs ?? [];
  const known = latest?.runs.findIndex((run) => run.id === top?.id) ?? -1;
  const fresh = unshown || !latest ? 0 : known >= 0 ? known : top ? Math.max(0, latest.total - shown.page.total) : latest.runs.length;
  return {
    count: shown?.page.total ?? 0,
    exact: shown?.page.exact ?? true,
    error: found.error,
    loading: !shown,
    cursor: shown?.page.cursor ?? 0,
    fresh,
    renew,
  };
}

/** The runs of some pages by their place in the list, as far as they are there. */
export function useRunPages(workspace: string, filters: Filters, cursor: number, pages: number[]) {
  const found = useQueries({ queries: pages.map((number) => ({ ...page(workspace, filters, cursor, number), enabled: cursor > 0 })) });
  const reached = Math.max(0, ...found.map(({ data }, index) => (data?.more ? ((pages[index] ?? 0) + 2) * PAGE : 0)));
  const at = (row: number): Run | undefined => found[pages.indexOf(Math.floor(row / PAGE))]?.data?.runs[row % PAGE];
  return { at, reached, error: found.find((each) => each.error)?.error ?? null };
}

/** Rows that are shown follow what happens; the newest ones are asked for, at most twice a second. */
export function useLiveRuns(workspace: string): void {
  const client = useQueryClient();
  const due = useRef<number | undefined>(undefined);
  const follow = useCallback(
    (changes: Change[]) => {
      const byRun = Map.groupBy(changes, (change) => change.row?.id);
      byRun.delete(undefined);
      if (byRun.size === 0) return;
      client.setQueriesData<Page>({ queryKey: [workspace, "runs", "page"] }, (known) => {
        if (!known?.runs.some((run) => byRun.has(run.id))) return known;
        return { ...known, runs: known.runs.map((run) => byRun.get(run.id)?.reduce(fold, run) ?? run) };
      });
      if (!changes.some((change) => change.kind === "run")) return;
      due.current ??= window.setTimeout(() => {
        due.current = undefined;
        renew(client, { queryKey: [workspace, "runs", "newest"] });
      }, MILLISECONDS_BETWEEN_LOOKS);
    },
    [client, workspace],
  );
  useEffect(() => () => window.clearTimeout(due.current), []);
  useChanges(workspace, follow);
}

export interface Outcome {
  done: number;
  refused: { id: string; reason: string }[];
}

/** Cancels or retries runs by their ids, as many at once as the API takes. */
export async function act(workspace: string, action: "cancel" | "retry", ids: string[]): Promise<Outcome> {
  const outcome: Outcome = { done: 0, refused: [] };
  for (let from = 0; from < ids.length; from += 1000) {
    const body = { ids: ids.slice(from, from + 1000) };
    const path = `/api/v1/workspaces/{workspace}/runs/${action}` as const;
    const { results } = await take(api.POST(path, { params: { path: { workspace } }, body }));
    for (const each of results) {
      if (each.outcome === "refused") outcome.refused.push({ id: each.id, reason: each.error?.message ?? "It was refused." });
      else outcome.done += 1;
    }
  }
  return outcome;
}

/** The ids of all runs of a list with which this may be done. */
export async function idsOf(workspace: string, filters: Filters, cursor: number, action: "cancel" | "retry"): Promise<string[]> {
  const ids: string[] = [];
  for (let offset = 0, more = true; more; offset += 1000) {
    const found = await look(workspace, filters, { cursor, offset, limit: 1000 });
    ids.push(...found.runs.filter((run) => run.actions.includes(action)).map((run) => run.id));
    more = found.more;
  }
  return ids;
}
