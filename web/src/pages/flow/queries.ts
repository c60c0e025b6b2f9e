import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, type Shape, take } from "../../api/client";
import { streamOf } from "../../api/live";

const of = (workspace: string, name: string) => ({ params: { path: { workspace, name } } });

/** A flow with its plan, its text and what is wrong with it. */
export const flowDetails = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}", of(workspace, name))),
    // A flow that waits for its environment can be read as soon as that is built.
    refetchInterval: ({ state: { data } }) => (data?.status === "pending" ? 2000 : 10_000),
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

/** The module as it is now, as a version would tell it. */
export const flowText = (workspace: string, { name, version, file, text }: Shape["FlowDetails"]) =>
  queryOptions({
    queryKey: ["version", workspace, name, version, "now"],
    queryFn: (): Shape["VersionTexts"] => ({ digest: version ?? "", flow: name, texts: [{ file, text: moduleText(file, text ?? ""), cut: false }] }),
    staleTime: Infinity,
  });

/** The code cells of a notebook, one after the other; other modules as they are. */
export function moduleText(file: string, text: string): string {
  if (!file.endsWith(".ipynb")) return text;
  try {
    const notebook = JSON.parse(text) as { cells: { cell_type: string; source: string | string[] }[] };
    const code = notebook.cells.filter((cell) => cell.cell_type === "code").map((cell) => [cell.source].flat().join(""));
    return code.map((cell, index) => `# %% [${index + 1}]\n${cell}\n`).join("\n");
  } catch {
    return text;
  }
}

/** What the flow runs in; asked for often while it is being built, since no event tells of builds. */
export const environment = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name, "environment"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}/environment", of(workspace, name))),
    refetchInterval: ({ state: { data } }) =>
      data?.environment && ["queued", "building"].includes(data.environment.state) ? 1000 : 30_000,
  });

/** The last runs of a flow, the newest first, without their steps; useLiveFlow puts into them what changes. */
export const lastRuns = (workspace: string, name: string) =>
  queryOptions({
    queryKey: [workspace, "flow", name, "runs"],
    queryFn: async () => {
      const stream = streamOf(workspace);
      const since = stream.seen;
      const params = { path: { workspace }, query: { flow: name, limit: 50, steps: false } };
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
