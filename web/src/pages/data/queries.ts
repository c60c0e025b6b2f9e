import { queryOptions } from "@tanstack/react-query";
import { api, type Shape, take } from "../../api/client";

export type Entry = Shape["FileEntry"];
export type FileInfo = Shape["FileInfo"];

/** Entries of a folder that are shown at most. */
export const MOST_ENTRIES = 10_000;

const list = (workspace: string, path: string, run: string | null, signal?: AbortSignal) =>
  take(
    api.GET("/api/v1/workspaces/{workspace}/files", {
      params: { path: { workspace }, query: { path, run_id: run ?? undefined, limit: MOST_ENTRIES } },
      signal,
    }),
  );

export const folder = (workspace: string, path: string, run: string | null) =>
  queryOptions({
    queryKey: [workspace, "folder", path, run],
    queryFn: ({ signal }) => list(workspace, path, run, signal),
  });

export const file = (workspace: string, path: string, run: string | null) =>
  queryOptions({
    queryKey: [workspace, "file", path, run],
    queryFn: ({ signal }) => {
      const query = { path, run_id: run ?? undefined };
      return take(api.GET("/api/v1/workspaces/{workspace}/files/info", { params: { path: { workspace }, query }, signal }));
    },
  });

export const text = (workspace: string, path: string, run: string | null, limit: number) =>
  queryOptions({
    queryKey: [workspace, "text", path, run, limit],
    queryFn: ({ signal }) =>
      take(
        api.GET("/api/v1/workspaces/{workspace}/files/text", {
          params: { path: { workspace }, query: { path, run_id: run ?? undefined, limit } },
          signal,
        }),
      ),
  });

/** The tables that a run has left, by the names that SQL knows them by. */
export const runTables = (workspace: string, run: string) =>
  queryOptions({
    queryKey: [workspace, "run tables", run],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/runs/{run_id}/tables", { params: { path: { workspace, run_id: run } } })),
  });

/** The last runs that succeeded, for the doors to what they left. */
export const lastRuns = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "runs", "left"],
    queryFn: () =>
      take(
        api.GET("/api/v1/workspaces/{workspace}/runs", {
          params: { path: { workspace }, query: { status: "succeeded", limit: 100, steps: false } },
        }),
      ),
    staleTime: 15_000,
  });

/** Where a file is read as it is. */
export function contentOf(workspace: string, path: string, run: string | null): string {
  const query = new URLSearchParams({ path, ...(run ? { run_id: run } : {}) });
  return `/api/v1/workspaces/${encodeURIComponent(workspace)}/files/content?${query}`;
}

/** Where a file or folder is seen. */
export function dataAt(workspace: string, path: string, run: string | null = null): string {
  const query = new URLSearchParams({ ...(path ? { path } : {}), ...(run ? { run } : {}) });
  return `/w/${workspace}/data?${query}`;
}
