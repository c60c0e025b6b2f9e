import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, type Shape, take } from "../../api/client";

export type SourceFile = Shape["SourceFile"];
export type Content = Shape["SourceContent"];
export type Cell = Omit<Shape["Cell"], "id"> & { id: string };
export type Diagnostic = Shape["Diagnostic"];

/** What is written in a file: a notebook has cells, anything else text. */
export interface Body {
  text: string | null;
  cells: Cell[] | null;
}

export const sources = (workspace: string) =>
  queryOptions({
    queryKey: [workspace, "sources"],
    queryFn: () => take(api.GET("/api/v1/workspaces/{workspace}/sources", { params: { path: { workspace } } })),
    refetchInterval: 5000,
  });

/** A file as it is on the disk, looked at again and again: other programs write it too. */
export const content = (workspace: string, path: string) =>
  queryOptions({
    queryKey: [workspace, "source", path],
    queryFn: () =>
      take(api.GET("/api/v1/workspaces/{workspace}/sources/content", { params: { path: { workspace }, query: { path } } })),
    refetchInterval: 3000,
    staleTime: 0,
  });

/** What is wrong with a text; `stamp` names it, so that it need not be compared letter by letter. */
export const check = (workspace: string, path: string, stamp: string, body: Body | null) =>
  queryOptions({
    queryKey: [workspace, "check", path, stamp],
    queryFn: () =>
      take(
        api.POST("/api/v1/workspaces/{workspace}/sources/check", {
          params: { path: { workspace } },
          body: { path, text: body?.text ?? null, cells: body?.cells?.map((cell) => ({ ...cell })) ?? null },
        }),
      ),
    enabled: body !== null,
    placeholderData: keepPreviousData,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
  });

export const write = (workspace: string, body: { path: string; tag: string } & Body) =>
  take(
    api.POST("/api/v1/workspaces/{workspace}/sources/write", {
      params: { path: { workspace } },
      body: { ...body, cells: body.cells?.map((cell) => ({ ...cell })) ?? null },
    }),
  );

export const create = (workspace: string, path: string) =>
  take(api.POST("/api/v1/workspaces/{workspace}/sources/create", { params: { path: { workspace } }, body: { path } }));

export const rename = (workspace: string, path: string, to: string, tag: string) =>
  take(api.POST("/api/v1/workspaces/{workspace}/sources/rename", { params: { path: { workspace } }, body: { path, to, tag } }));

export const remove = (workspace: string, path: string, tag: string) =>
  take(api.POST("/api/v1/workspaces/{workspace}/sources/delete", { params: { path: { workspace } }, body: { path, tag } }));

/** Whether two bodies say the same; the ids of cells are names, and no content. */
export function same(one: Body, other: Body): boolean {
  if (one.text !== other.text || one.cells?.length !== other.cells?.length) return false;
  return (one.cells ?? []).every((cell, index) => {
    const beside = other.cells?.[index];
    return cell.source === beside?.source && cell.kind === beside.kind;
  });
}
