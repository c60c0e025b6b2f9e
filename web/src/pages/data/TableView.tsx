import { Button } from "@mantine/core";
import { keepPreviousData, useQueries, useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useState } from "react";
import { useAddress } from "../../parts/address";
import { usePagesOf, useRowHeight, useRows } from "../../parts/rows";
import { COLUMNS, type Column, PAGE, type Source, tablePage, tableStatistics } from "../../parts/table/tables";
import { Trouble } from "../../parts/Trouble";
import { useSelection } from "./chosen";
import { ColumnHead } from "./ColumnHead";
import { ColumnMenu, told } from "./ColumnMenu";
import { Export } from "./Export";
import { Grid } from "./Grid";
import { SqlBox } from "./SqlBox";

const HEAD = 78;

/** A table as the daemon pages it: sorted and filtered as the address says, with what is in its columns above them. */
export function TableView({ workspace, source, run }: { workspace: string; source: Source; run: string | null }) {
  const { address, put } = useAddress();
  const { selection, setSort, setFilters } = useSelection();
  const { sort, filters } = selection;
  const height = useRowHeight();
  const start = useQuery({ ...tablePage(workspace, source, selection, 0), placeholderData: keepPreviousData });
  const columns = start.data?.columns ?? NONE;
  const [reached, setReached] = useState(0);
  const total = start.data ? (start.data.total ?? Math.max(reached, start.data.rows.length)) : 0;
  const rows = useRows(total, height, HEAD);
  const pages = usePagesOf(rows.first, rows.last, PAGE);
  const found = useQueries({ queries: pages.map((page) => ({ ...tablePage(workspace, source, selection, page), enabled: start.isSuccess })) });
  // How far a table reaches that is not counted is found out by going there.
  const known = Math.max(0, ...found.map(({ data }, index) => ((data?.rows.length ?? 0) + ((pages[index] ?? 0) + (data?.rows.length === PAGE ? 1 : 0)) * PAGE)));
  if (start.data?.total === null && known > reached) setReached(known);
  const pageOf = (row: number) => found[pages.indexOf(Math.floor(row / PAGE))]?.data;
  const at = (row: number) => pageOf(row)?.rows[row % PAGE];
  const isCut = (row: number, column: number) => pageOf(row)?.cut.some(([each, which]) => each === row % PAGE && which === column) ?? false;

  const [inView, setInView] = useState({ first: 0, last: 8 });
  const onColumns = useCallback((first: number, last: number) => setInView({ first, last }), []);
  const statistics = useStatistics(workspace, source, selection.filters, columns, inView, start.isSuccess && !start.isPlaceholderData);

  const sortBy = (column: string, add: boolean) => {
    const now = sort.find((each) => each.column === column);
    const next = !now ? [{ column, descending: false }] : now.descending ? [] : [{ column, descending: true }];
    setSort(add ? [...sort.filter((each) => each.column !== column), ...next] : next);
  };
  const withSql = address.has("sql");
  const turnSql = () => put({ sql: withSql ? null : "" }, { replace: false });
  const failed = start.error ?? found.find((each) => each.error)?.error;
  return (
    <div className="table-view">
      <div className="table-bar">
        <span>
          {start.data && (
            <>
              <strong>{start.data.total === null ? "many" : start.data.total.toLocaleString("en-US")}</strong> {start.data.total === 1 ? "row" : "rows"}
              {filters.length > 0 && " that fit"} ×{" "}
              {start.data.columns_total.toLocaleString("en-US")}
              {columns.length < start.data.columns_total && ` (the first ${columns.length} are shown)`}
            </>
          )}
        </span>
        {filters.map((filter, index) => (
          <Button
            key={told(filter)} size="compact-xs" variant="light" aria-label={`Take away: ${told(filter)}`} title="A click takes it away"
            onClick={() => setFilters(filters.filter((_, other) => other !== index))}
          >
            {told(filter)} ×
          </Button>
        ))}
        {sort.map((each) => (
          <Button
            key={each.column} size="compact-xs" variant="default" aria-label={`No longer sort by ${each.column}`} title="A click takes it away"
            onClick={() => setSort(sort.filter((other) => other !== each))}
          >
            {each.descending ? "↓" : "↑"} {each.column} ×
          </Button>
        ))}
        <span className="grow" />
        <Export workspace={workspace} source={source} selection={selection} />
        <Button size="compact-sm" variant={withSql ? "light" : "default"} aria-pressed={withSql} onClick={turnSql}>
          SQL
        </Button>
      </div>
      {failed && !withSql && <Trouble error={failed} />}
      {withSql ? (
        <SqlBox workspace={workspace} source={source} run={run} columns={columns} />
      ) : failed && !start.data ? null : start.data ? (
        <Grid
          label="Rows" columns={columns} total={total} height={height} headHeight={HEAD} rows={rows} at={at} isCut={isCut} sort={sort} onSort={sortBy}
          busy={found.some((each) => each.isFetching)} onColumns={onColumns}
          head={(column, width) => <ColumnHead statistics={statistics.of(column)} width={width} waiting={statistics.waiting} />}
          menu={(column) => <ColumnMenu column={column} statistics={statistics.of(column)} filters={filters} onFilter={setFilters} onSort={setSort} />}
        />
      ) : (
        <div className="grid" aria-busy ref={rows.scroller} />
      )}
    </div>
  );
}

const NONE: Column[] = [];

/** What is in the columns in view, asked for when the rows are there, some columns at a time. */
function useStatistics(
  workspace: string, source: Source, filters: Parameters<typeof tableStatistics>[2], columns: Column[], inView: { first: number; last: number }, ready: boolean,
) {
  const names = useMemo(
    () => Array.from({ length: Math.ceil(columns.length / COLUMNS) }, (_, part) => columns.slice(part * COLUMNS, (part + 1) * COLUMNS).map((each) => each.name)),
    [columns],
  );
  const part = Math.min(Math.floor(inView.last / COLUMNS), Math.max(0, names.length - 1));
  const wanted = [...new Set([0, Math.min(Math.floor(inView.first / COLUMNS), part), part])];
  // A large file keeps every processor busy then: its first rows are drawn before.
  const [drawn, setDrawn] = useState(false);
  useEffect(() => {
    if (!ready) return;
    const clock = window.setTimeout(() => setDrawn(true), 100);
    return () => window.clearTimeout(clock);
  }, [ready]);
  const found = useQueries({
    queries: wanted.map((each) => ({ ...tableStatistics(workspace, source, filters, names[each] ?? [], each), enabled: ready && drawn && names.length > 0 })),
  });
  const byName = new Map(found.flatMap(({ data }) => data?.columns.map((each) => [each.name, each] as const) ?? []));
  return { of: (column: Column) => byName.get(column.name), waiting: found.some((each) => each.isFetching) };
}
