import { type QueryClient, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { api, type Run, take } from "./client";
import { runOf, streamOf } from "./live";

const at = (workspace: string) => ({ params: { path: { workspace } } });

export const workspaces = queryOptions({
  queryKey: ["workspaces"],
  queryFn: () => take(api.GET("/api/v1/workspaces")),
  staleTime: 10_000,
});

export const health = queryOptions({
  queryKey: ["health"],
  queryFn: () => take(api.GET("/api/v1/health")),
  staleTime: 60_000,
});

export const overview = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "overview"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/overview", at(workspace))),
    refetchInterval: 10_000,
  });

export const flows = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "flows"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows", at(workspace))),
    refetchInterval: 15_000,
  });

export const standing = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "standing"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/standing", at(workspace))),
    refetchInterval: 10_000,
  });

export const engine = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "engine"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/engine", at(workspace))),
    refetchInterval: 10_000,
  });

export interface RunFilter {
  flow?: string;
  status?: string;
}

export const PAGE = 100;

export const runs = (workspace: string, filter: RunFilter) =>
  queryOptions({
    queryKey: [workspace, "runs", filter],
    queryFn: async () => {
      const stream = streamOf(workspace);
      const since = stream.seen;
      const query = { ...filter, limit: PAGE };
      const page = await take(
        api.GET("/api/v1/workspaces/{workspace}/runs", { params: { path: { workspace }, query } }),
      );
      return { ...page, runs: stream.newest(page.runs, since) };
    },
    refetchInterval: 15_000,
  });

export const run = (workspace: string, runId: string) =>
  queryOptions({
    queryKey: [workspace, "run", runId],
    queryFn: async () => {
      const stream = streamOf(workspace);
      const since = stream.seen;
      const params = { path: { workspace, run_id: runId } };
      const row = await take(api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}", { params }));
      // Race: it may have changed while the answer was on its way.
      return stream.newest([row], since)[0] ?? row;
    },
  });

/** What changes without a run: who owns the workspace, and what starts by itself. */
const STATES = new Set<unknown>(["standing", "engine", "flows"]);

/** Lets what is shown follow what happens: each change brings the whole row. */
export function useLiveRows(workspace: string): void {
  const client = useQueryClient();
  useEffect(() => {
    const stream = streamOf(workspace);
    // Many changes may come at once; what is counted over all of them is asked for at most twice a second.
    let due: number | undefined;
    const unlisten = stream.listen((change) => {
      const row = runOf(change);
      if (row) put(client, workspace, row);
      else void client.invalidateQueries({ predicate: ({ queryKey: [of, what] }) => of === workspace && STATES.has(what) });
      due ??= window.setTimeout(() => {
        due = undefined;
        void client.invalidateQueries({ queryKey: overview(workspace).queryKey });
      }, 500);
    });
    // What happened while nobody listened is asked for, once the stream is there (again).
    const unwatch = stream.watch(() => {
      if (stream.standing === "live") void client.invalidateQueries({ queryKey: [workspace] });
    });
    return () => {
      unlisten();
      unwatch();
      window.clearTimeout(due);
    };
  }, [client, workspace]);
}

function put(client: QueryClient, workspace: string, row: Run): void {
  client.setQueryData(run(workspace, row.id).queryKey, (known) => known && { ...known, ...row });
  client.setQueriesData<{ runs: Run[]; next: number | null }>({ queryKey: [workspace, "runs"] }, (page) => {
    if (!page) return page;
    const index = page.runs.findIndex((each) => each.id === row.id);
    return index < 0 ? page : { ...page, runs: page.runs.with(index, row) };
  });
  const unseen = client
    .getQueryCache()
    .findAll({ queryKey: [workspace, "runs"] })
    .filter((query) => !(query.state.data as { runs: Run[] } | undefined)?.runs.some((each) => each.id === row.id));
  for (const query of unseen) void client.invalidateQueries({ queryKey: query.queryKey, exact: true });
}

export function useStart(workspace: string) {
  return useMutation({
    mutationFn: (name: string) =>
      take(
        api.POST("/api/v1/workspaces/{workspace}/flows/{name}/start", {
          params: { path: { workspace, name } },
          body: { new: true },
        }),
      ),
  });
}

export function useAction(workspace: string) {
  return useMutation({
    mutationFn: ({ run_id, action }: { run_id: string; action: "cancel" | "retry" | "resume" }) => {
      const params = { path: { workspace, run_id } };
      const path = `/api/v1/workspaces/{workspace}/runs/{run_id}/${action}` as const;
      return take<unknown>(api.POST(path, { params, body: {} as never }));
    },
  });
}
