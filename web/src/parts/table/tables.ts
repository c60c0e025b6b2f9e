import { queryOptions } from "@tanstack/react-query";
import { ApiError, api, type Shape, take } from "../../api/client";

export type Column = Shape["Column"];
export type Statistics = Shape["ColumnStatistics"];
/** A value of a cell as JSON has it: see cells.py. */
export type Cell = unknown;

/** Which table: a path (with a run: in that run's folder), an artifact of a run, or the output of a step. */
export interface Source {
  path?: string;
  run_id?: string;
  artifact?: string;
  step?: string | number;
  sheet?: string;
  table?: string;
}

export type Sort = { column: string; descending: boolean };
export type Filter = { column: string; op: string; value?: string | number | boolean | (string | number)[] };

export interface Selection {
  sort: Sort[];
  filters: Filter[];
}

/** Rows of one page. */
export const PAGE = 200;
/** Columns whose statistics are asked for at once. */
export const COLUMNS = 24;
/** Rows of a SELECT that are shown at most. */
export const MOST_RESULTS = 10_000;
/** What this window asks: a newer question of the same view ends an older one. */
const view = `console-${Math.random().toString(36).slice(2)}`;

/** A question that was given up for a newer one, or that found all readers busy, is asked again. */
const retry = (failures: number, error: Error): boolean =>
  error instanceof ApiError && (error.status === 0 ? failures < 20 : error.code.startsWith("preview-busy") || error.code === "preview-superseded") && failures < 20;

const within = (workspace: string) => ({ params: { path: { workspace } } });

export const tablePage = (workspace: string, source: Source, { sort, filters }: Selection, page: number, limit = PAGE) =>
  queryOptions({
    queryKey: [workspace, "table", source, "page", sort, filters, limit, page],
    queryFn: ({ signal }) =>
      take(
        api.POST("/api/v1/workspaces/{workspace}/tables/page", {
          ...within(workspace),
          body: { ...source, offset: page * limit, limit, sort: asked(sort), filters: asked(filters), view: limit === PAGE ? `${view}-${page % 2}` : undefined },
          signal,
        }),
      ),
    staleTime: 30_000,
    gcTime: 60_000,
    retry,
  });

export const tableStatistics = (workspace: string, source: Source, filters: Filter[], columns: string[], part: number) =>
  queryOptions({
    queryKey: [workspace, "table", source, "statistics", filters, columns],
    queryFn: ({ signal }) =>
      take(
        api.POST("/api/v1/workspaces/{workspace}/tables/statistics", {
          ...within(workspace),
          body: { ...source, filters: asked(filters), columns, view: `${view}-statistics-${part}` },
          signal,
        }),
      ),
    staleTime: 60_000,
    retry,
  });

const asked = <T>(list: T[]): T[] | undefined => (list.length > 0 ? list : undefined);

/** Cells of these columns stand at the right, in figures of one width. */
export const isNumber = (column: Column): boolean => column.kind === "number";

/** A value as it is shown and copied; null is told by its own word. */
export function shown(value: Cell): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A number as people read it, with groups of three; text of digits too, without losing one. */
export function grouped(value: Cell): string {
  // Nine figures tell numbers apart; a cell that is opened has all of them.
  if (typeof value === "number") return value.toLocaleString("en-US", { maximumFractionDigits: Math.max(0, Math.min(6, 8 - Math.trunc(Math.log10(Math.abs(value) || 1)))) });
  return shown(value).replace(/^(-?)(\d{4,})(?=\.|$)/, (_, sign: string, digits: string) => sign + digits.replace(/\B(?=(\d{3})+$)/g, ","));
}

const GLYPHS: Record<string, string> = {
  number: "123", text: "abc", boolean: "y/n", date: "date", timestamp: "time", time: "clock", binary: "bytes", nested: "{ }",
};

/** A kind of column in a few characters; its type is its title. */
export const glyph = (column: Column): string => GLYPHS[column.kind] ?? column.kind;

/** Rows of a SELECT: over the tables that a run has left, or over one table, which it calls `data`. */
export const sqlRows = (workspace: string, over: { run: string } | Source, sql: string) =>
  queryOptions({
    queryKey: [workspace, "sql", over, sql],
    queryFn: ({ signal }) => {
      const body = { sql, limit: MOST_RESULTS, view: `${view}-sql` };
      return take(
        "run" in over
          ? api.POST("/api/v1/workspaces/{workspace}/runs/{run_id}/sql", { params: { path: { workspace, run_id: over.run } }, body, signal })
          : api.POST("/api/v1/workspaces/{workspace}/tables/sql", { ...within(workspace), body: { ...over, ...body }, signal }),
      );
    },
    enabled: sql.trim() !== "",
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
