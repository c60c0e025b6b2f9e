import { queryOptions } from "@tanstack/react-query";
import { api, take } from "../../api/client";

/** Guides come with the program: they are the same until it is another one. */
export const guides = queryOptions({
  queryKey: ["guides"],
  queryFn: () => take(api.GET("/api/v1/guides")),
  staleTime: Number.POSITIVE_INFINITY,
});

export const guide = (name: string) =>
  queryOptions({
    queryKey: ["guides", name],
    queryFn: () => take(api.GET("/api/v1/guides/{name}", { params: { path: { name } } })),
    staleTime: Number.POSITIVE_INFINITY,
    enabled: name !== "",
  });
