import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, type Shape, take } from "../../api/client";

export type Environment = Shape["Environment"];
export type Wanted = Shape["WantedEnvironment"];
export type PoolKind = Shape["PoolKind"];
export type PoolMember = Shape["PoolMember"];

/** While something is being built, what is shown is asked for again soon. */
export const environments = queryOptions({
  queryKey: ["environments"],
  queryFn: () => take(api.GET("/api/v1/environments")),
  refetchInterval: ({ state }) =>
    state.data?.environments.some((each) => each.state === "building" || each.state === "queued") ? 1000 : 5000,
});

export const pool = queryOptions({
  queryKey: ["pool"],
  queryFn: () => take(api.GET("/api/v1/pool")),
  refetchInterval: ({ state }) => (state.data?.kinds.some((each) => each.warming > 0 || each.deficit > 0) ? 1500 : 5000),
});

/** Which environment each flow of the workspace runs in. */
export const wanted = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "wanted environments"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/environments", { params: { path: { workspace } } })),
    refetchInterval: 15_000,
  });

/** What would go if the machine were tidied up now. */
export const collectable = queryOptions({
  queryKey: ["environments", "collectable"],
  queryFn: () => take(api.POST("/api/v1/environments/collect", { body: { dry_run: true } })),
  gcTime: 0,
});

export function usePin() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ digest, pinned }: { digest: string; pinned: boolean }) =>
      take(api.POST("/api/v1/environments/{digest}/pin", { params: { path: { digest } }, body: { pinned } })),
    onSettled: () => client.invalidateQueries({ queryKey: environments.queryKey }),
  });
}

export function useRemove() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (digest: string) =>
      take(api.POST("/api/v1/environments/{digest}/remove", { params: { path: { digest } } })),
    onSettled: () => client.invalidateQueries({ queryKey: environments.queryKey }),
  });
}

export function useCollect() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => take(api.POST("/api/v1/environments/collect", { body: { dry_run: false } })),
    onSettled: () => client.invalidateQueries({ queryKey: environments.queryKey }),
  });
}

export function useFlush() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (kind: string) => take(api.POST("/api/v1/pool/flush", { body: { kind } })),
    onSettled: () => client.invalidateQueries({ queryKey: pool.queryKey }),
  });
}
