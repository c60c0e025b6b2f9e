import { queryOptions, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { api, type Run, take } from "../../api/client";
import { type Change, fold, streamOf, useChanges } from "../../api/live";

export interface RunFilter {
  flow?: string;
  status?: string;
}

const PAGE = 100;

export const runs = (workspace: string, filter: RunFilter) =>
  queryOptions({
    queryKey: [workspace, "runs", filter],
    queryFn: async () => {
      const stream = streamOf(workspace);
      const since = stream.seen;
      const query = { ...filter, limit: PAGE, steps: false };
      const page = await take(api.GET("/api/v1/workspaces/{workspace}/runs", { params: { path: { workspace }, query } }));
      return { ...page, runs: page.runs.map((row) => stream.newest(row, since)) };
    },
  });

/** Rows that are shown follow what happens; one that is not there yet is asked for. */
export function useLiveRuns(workspace: string): void {
  const client = useQueryClient();
  const follow = useCallback(
    (changes: Change[]) => {
      let unseen = false;
      for (const change of changes) {
        if (!change.row) continue;
        client.setQueriesData<{ runs: Run[] }>({ queryKey: [workspace, "runs"] }, (page) => {
          const index = page?.runs.findIndex((row) => row.id === change.row?.id) ?? -1;
          const known = page?.runs[index];
          if (!page || !known) {
            unseen = true;
            return page;
          }
          return { ...page, runs: page.runs.with(index, fold(known, change)) };
        });
      }
      if (unseen) void client.invalidateQueries({ queryKey: [workspace, "runs"] });
    },
    [client, workspace],
  );
  useChanges(workspace, follow);
}
