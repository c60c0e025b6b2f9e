import { type QueryClient, type QueryFilters, queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { api, type Overview, type Shape, take } from "./client";
import { fold, streamOf } from "./live";

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
    // What comes a moment later on the same page takes what its frame has just asked for.
    staleTime: 2_000,
  });

export const flows = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "flows"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows", at(workspace))),
    refetchInterval: 15_000,
  });

const labelsOf = ({ flows }: Overview) => new Map(flows.map((flow) => [flow.name, flow.label]));

/** What each flow is called by people. */
export function useLabels(workspace: string): Map<string, string> | undefined {
  return useQuery({ ...overview(workspace), select: labelsOf }).data;
}

export const standing = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "standing"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/standing", at(workspace))),
    refetchInterval: 10_000,
  });

const refusalOf = ({ refusal }: Shape["Standing"]) => refusal?.message ?? null;

/** Why nothing is run from here now: another machine owns the workspace, say. Null when it would run. */
export function useRefusal(workspace: string): string | null {
  return useQuery({ ...standing(workspace), select: refusalOf }).data ?? null;
}

export const engine = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "engine"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/engine", at(workspace))),
    refetchInterval: 10_000,
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
      return stream.newest(row, since);
    },
  });

/**
 * Asks anew for what is shown, because of what happened. What is being asked for at that moment may be answered from before
 * it: that answer is waited for, for in a time of much news none would ever come, and then asked for once more.
 */
export function renew(client: QueryClient, filters: QueryFilters): void {
  const again = (these: QueryFilters) => void client.invalidateQueries(these, { cancelRefetch: false });
  for (const { queryKey, promise } of client.getQueryCache().findAll({ ...filters, fetchStatus: "fetching" })) {
    const once = () => again({ queryKey, exact: true });
    promise?.then(once, once);
  }
  again(filters);
}

/** What is asked for anew when it changes, and at most twice a second when much does. */
const MILLISECONDS_BETWEEN_LOOKS = 500;

/** Lets what every page shows follow what happens. */
export function useLive(workspace: string): void {
  const client = useQueryClient();
  useEffect(() => {
    const stream = streamOf(workspace);
    const due = new Map<string, number>();
    const look = (queryKey: string[]) => {
      const name = queryKey.join(" ");
      if (due.has(name)) return;
      const timer = window.setTimeout(() => {
        due.delete(name);
        renew(client, { queryKey: [workspace, ...queryKey] });
      }, MILLISECONDS_BETWEEN_LOOKS);
      due.set(name, timer);
    };
    const unlisten = stream.listen((changes) => {
      for (const change of changes) {
        if (stream.isGreeting(change)) continue;
        look(["overview"]);
        if (change.kind === "standing" || change.kind === "engine") look([change.kind]);
        const { row } = change;
        if (!row) continue;
        client.setQueryData(run(workspace, row.id).queryKey, (known) => known && fold(known, change));
        // What a run kept, and steps that were not planned, come with the run itself.
        if (change.kind === "artifact" || (change.kind === "run" && row.finished_at)) look(["run", row.id]);
      }
    });
    // What happened while nobody listened is asked for, once the stream is there again. At the beginning there is little
    // of that: it is asked for where it would stay wrong, in what nobody asks for anew by itself.
    let before = stream.standing;
    const unwatch = stream.watch(() => {
      if (stream.standing === "live")
        renew(client, {
          predicate: ({ queryKey: [of, what] }) => of === workspace && (before === "away" || what === "run" || what === "runs"),
        });
      before = stream.standing;
    });
    return () => {
      unlisten();
      unwatch();
      for (const timer of due.values()) window.clearTimeout(timer);
    };
  }, [client, workspace]);
}

/** Runs under way or waiting, the newest first: what a change of owner or a kill would touch. */
export const activeRuns = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "active"],
    queryFn: () =>
      take(
        api.GET("/api/v1/workspaces/{workspace}/runs", {
          params: { path: { workspace }, query: { status: "starting,running,waiting,cancelling", limit: 100, steps: false } },
        }),
      ),
  });

/** The newest runs that a text fits: their id, source file, summary or error. */
export const foundRuns = (workspace: string, text: string) =>
  queryOptions({
    queryKey: [workspace, "found", text],
    queryFn: () => {
      const query = { ...(text ? { text } : {}), limit: 8, steps: false };
      return take(api.GET("/api/v1/workspaces/{workspace}/runs", { params: { path: { workspace }, query } }));
    },
  });

export interface StartBody {
  params?: Record<string, unknown>;
  source?: string;
  force?: boolean;
  retry_failed?: boolean;
  new?: boolean;
}

/** Starts a flow with what was chosen. */
export function useStart(workspace: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ name, body }: { name: string; body: StartBody }) =>
      take(api.POST("/api/v1/workspaces/{workspace}/flows/{name}/start", { params: { path: { workspace, name } }, body })),
    onSuccess: (_, { name }) => client.invalidateQueries({ queryKey: [workspace, "flow", name] }),
  });
}

/** What runs when nothing is chosen: the files that are due, or, without a source folder, once more. */
export const whatIsDue = (source: string | null | undefined): StartBody => (source ? {} : { new: true });

export function useAction(workspace: string) {
  return useMutation({
    mutationFn: ({ run_id, action }: { run_id: string; action: "cancel" | "retry" | "resume" }) => {
      const params = { path: { workspace, run_id } };
      const path = `/api/v1/workspaces/{workspace}/runs/{run_id}/${action}` as const;
      return take<{ started?: string[] }>(api.POST(path, { params, body: {} as never }) as never);
    },
  });
}

/** Lets flows start by themselves, or only by hand. */
export function useEngine(workspace: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (on: boolean) => {
      const params = { path: { workspace } };
      return on
        ? take(api.POST("/api/v1/workspaces/{workspace}/engine/start", { params }))
        : take(api.POST("/api/v1/workspaces/{workspace}/engine/stop", { params }));
    },
    onSettled: () => client.invalidateQueries({ queryKey: [workspace] }),
  });
}

export type OwnershipAction = "request-control" | "withdraw-request" | "release" | "takeover";

export function useOwnership(workspace: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (action: OwnershipAction) => {
      const path = `/api/v1/workspaces/{workspace}/${action}` as const;
      return take<Shape["Standing"]>(api.POST(path, { params: { path: { workspace } } } as never) as never);
    },
    onSettled: () => client.invalidateQueries({ queryKey: [workspace] }),
  });
}
