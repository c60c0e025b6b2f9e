import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, type Run, type Shape, take } from "../../api/client";

export type Step = Shape["Step"];
export type Item = Shape["Item"];
export type Attempt = Shape["Attempt"];
export type Artifact = Shape["Artifact"];
export type Failure = Shape["Failure"];

/** Statuses in which a run has nothing ahead of it, unless somebody resumes it. */
const SETTLED = ["succeeded", "failed", "rejected", "cancelled", "interrupted"];
export const isOpen = (run: Run) => !SETTLED.includes(run.status);

const at = (workspace: string, runId: string) => ({ path: { workspace, run_id: runId } });

/** Every attempt at every step; `moment` is what they may have changed with. */
export const attempts = (workspace: string, run: Run, moment: string) =>
  queryOptions({
    queryKey: [workspace, "run", run.id, "steps", moment],
    queryFn: () =>
      take(api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/steps", { params: at(workspace, run.id) })),
    placeholderData: (before: Shape["RunSteps"] | undefined) => before,
  });

/** What went wrong, where in the author's text, and from which steps a retry may begin. */
export const failure = (workspace: string, run: Run) =>
  queryOptions({
    queryKey: [workspace, "run", run.id, "error", run.status],
    queryFn: () =>
      take(
        api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/error", {
          params: { ...at(workspace, run.id), query: { around: 6 } },
        }),
      ),
  });

/** The items of a map, those that failed first. */
export const items = (workspace: string, runId: string, step: Step | undefined) =>
  infiniteQueryOptions({
    queryKey: [workspace, "run", runId, "items", step?.index ?? -1],
    queryFn: ({ pageParam: cursor }) =>
      take(
        api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/items", {
          params: { ...at(workspace, runId), query: { step: step?.index ?? -1, limit: 200, cursor } },
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page: Shape["ItemPage"]) => page.next ?? undefined,
    refetchInterval: step?.status === "running" ? 1500 : false,
  });

/** The tables that the run has left. */
export const tables = (workspace: string, run: Run) =>
  queryOptions({
    queryKey: [workspace, "run", run.id, "tables", run.status],
    queryFn: () =>
      take(api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/tables", { params: at(workspace, run.id) })),
  });

/** The text of a file in the run's folder. */
export const text = (workspace: string, runId: string, path: string) =>
  queryOptions({
    queryKey: [workspace, "run", runId, "text", path],
    queryFn: () =>
      take(
        api.GET("/api/v1/workspaces/{workspace}/files/text", {
          params: { path: { workspace }, query: { path, run_id: runId, limit: 1 << 20 } },
        }),
      ),
  });

/** Where a file of the run is served as it is. */
export const content = (workspace: string, runId: string, path: string) =>
  `/api/v1/workspaces/${workspace}/files/content?${new URLSearchParams({ path, run_id: runId })}`;

/** The runs of the same flow right before and after this one. */
export const neighbours = (workspace: string, run: Run) =>
  queryOptions({
    queryKey: [workspace, "neighbours", run.id],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/neighbours", { params: at(workspace, run.id) })),
    staleTime: 15_000,
  });
