import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, ApiError, type Shape, take } from "../../api/client";

export type Setting = Shape["Setting"];
export type Value = Setting["value"];
export type Settings = Shape["MachineSettings"];

export const settings = queryOptions({
  queryKey: ["settings"],
  queryFn: () => take(api.GET("/api/v1/settings")),
});

/** Changes one setting; null brings its default back. */
export function useChange() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ name, value }: { name: string; value: Value | null }) =>
      take(
        api.POST("/api/v1/settings", {
          body: { tag: client.getQueryData(settings.queryKey)?.tag ?? "", changes: { [name]: value } },
        }),
      ),
    onSuccess: (answer) => client.setQueryData(settings.queryKey, answer),
    onError: (error) => {
      // Somebody edited the file: what it says now is shown, and the change can be made again.
      const now = error instanceof ApiError ? (error.detail.now as Settings | undefined) : undefined;
      if (now?.tag) client.setQueryData(settings.queryKey, now);
    },
  });
}

/** Runs of a workspace that are not over, those under way first: what a kill interrupts, and what waits. */
export const openRuns = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "open runs"],
    queryFn: async () => {
      const asked = (status: string) =>
        take(
          api.GET("/api/v1/workspaces/{workspace}/runs", { params: { path: { workspace }, query: { status, limit: 50 } } }),
        );
      const [active, queued] = await Promise.all([asked("starting,running,waiting,cancelling"), asked("queued")]);
      return { active: active.runs, queued: queued.runs, more: active.next !== null || queued.next !== null };
    },
    refetchInterval: 2000,
    gcTime: 0,
  });
