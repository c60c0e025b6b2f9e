import { infiniteQueryOptions, keepPreviousData, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, take } from "../../api/client";
import { streamOf } from "../../api/live";

const of = (workspace: string, name: string) => ({ params: { path: { workspace, name } } });

/** A flow with its plan, its text and what is wrong with it. */
export const flowDetails = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}", of(workspace, name))),
    refetchInterval: 10_000,
  });

export const durations = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name, "durations"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}/durations", of(workspace, name))),
  });

export const versions = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name, "versions"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}/versions", of(workspace, name))),
  });

/** The texts of a version never change. */
export const versionTexts = (workspace: string, name: string, digest: string) =>
  queryOptions({
    queryKey: ["version", workspace, name, digest],
    queryFn: () =>
      take(
        api.GET("/api/v1/workspaces/{workspace}/flows/{name}/versions/{digest}", {
          params: { path: { workspace, name, digest } },
        }),
      ),
    staleTime: Infinity,
  });

/** What the flow runs in; asked for often while it is being built, since no event tells of builds. */
export const environment = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name, "environment"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}/environment", of(workspace, name))),
    refetchInterval: ({ state: { data } }) =>
      data?.environment && ["queued", "building"].includes(data.environment.state) ? 1000 : 30_000,
  });

/** The last runs of a flow, the newest first, with their steps; useLiveFlow puts into them what changes. */
export const lastRuns = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name, "runs"],
    queryFn: async () => {
      const stream = streamOf(workspace);
      const since = stream.seen;
      const params = { path: { workspace }, query: { flow: name, limit: 50 } };
      const page = await take(api.GET("/api/v1/workspaces/{workspace}/runs", { params }));
      return { ...page, runs: page.runs.map((row) => stream.newest(row, since)) };
    },
    refetchInterval: 15_000,
  });

export interface FileFilter {
  state?: string;
  text?: string;
}

const FILES = 1000;

/** The source files of a flow that pass the filter, page by page. */
export const sourceFiles = (workspace: string, name: string, filter: FileFilter) =>
  infiniteQueryOptions({
    queryKey: [workspace, "flow", name, "sources", filter],
    queryFn: ({ pageParam }) => {
      const query = { ...filter, limit: FILES, cursor: pageParam };
      const params = { path: { workspace, name }, query };
      return take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}/sources", { params }));
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: keepPreviousData,
  });

/** Whether flows of this workspace may be changed here; `refusal` says why not. */
export const editing = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "standing", "editing"],
    queryFn: async () => {
      const { actions, refusal } = await take(
        api.GET("/api/v1/workspaces/{workspace}/sources", { params: { path: { workspace } } }),
      );
      return { actions, refusal };
    },
    staleTime: 10_000,
  });

export interface StartBody {
  params?: Record<string, unknown>;
  source?: string;
  force?: boolean;
  retry_failed?: boolean;
  new?: boolean;
}

/** Starts a flow with what was chosen; what it lists anew shows the runs. */
export function useStartWith(workspace: string, name: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: StartBody) =>
      take(
        api.POST("/api/v1/workspaces/{workspace}/flows/{name}/start", { ...of(workspace, name), body }),
      ),
    onSuccess: () => client.invalidateQueries({ queryKey: [workspace, "flow", name] }),
  });
}
