import { Button, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo, useState } from "react";
import { useAddress } from "../../parts/address";
import { CodeEditor, type Mark } from "../../parts/code/CodeEditor";
import { useRowHeight, useRows } from "../../parts/rows";
import { type Column, MOST_RESULTS, type Source, sqlRows } from "../../parts/table/tables";
import { Grid } from "./Grid";
import { runTables } from "./queries";

const Chart = lazy(() => import("./Chart"));
const HEAD = 34;
const NO_MARKS: Mark[] = [];

export type Result = NonNullable<ReturnType<typeof useResult>["data"]>;
const useResult = (workspace: string, over: { run: string } | Source, sql: string) => useQuery(sqlRows(workspace, over, sql));

interface SqlBoxProps {
  workspace: string;
  source: Source | null;
  run: string | null;
  columns: Column[];
}

/** One SELECT over a table, or over all that a run has left; nothing else can be read by it, and nothing written. */
export function SqlBox({ workspace, source, run, columns }: SqlBoxProps) {
  const { address, put } = useAddress();
  const asked = address.get("sql") ?? "";
  const named = useQuery({ ...runTables(workspace, run ?? ""), enabled: run !== null });
  const tables = named.data?.tables.map((each) => each.name) ?? [];
  const overRun = run !== null && (source === null || address.get("over") === "run");
  const database = source?.table !== undefined;
  const from = overRun ? quoted(tables[0] ?? "table") : database ? `data.${quoted(source.table ?? "")}` : "data";
  const [text, setText] = useState(asked);
  const result = useResult(workspace, overRun ? { run } : without(source), asked);
  const view = address.get("view") ?? "rows";
  const { error } = result;
  const marks = useMemo(() => {
    const line = /^LINE (\d+):/m.exec(error?.message ?? "")?.[1];
    return error && line ? [{ line: Number(line), severity: "error" as const, message: error.message }] : NO_MARKS;
  }, [error]);
  const ask = () => {
    if (text === asked) void result.refetch();
    else put({ sql: text });
  };
  return (
    <div className="sql">
      <div className="sql-text">
        <CodeEditor
          text={text} onChange={setText} language="sql" label="SQL" onRun={ask} lineNumbers={false}
          marks={text === asked ? marks : NO_MARKS}
          names={[...(overRun ? tables : ["data", ...columns.map((each) => quoted(each.name))])]}
        />
      </div>
      <div className="table-bar">
        <Button size="compact-sm" loading={result.isFetching} disabled={text.trim() === ""} onClick={ask} title="Ctrl Enter">
          Run query
        </Button>
        {source && run && (
          <SegmentedControl
            size="xs" aria-label="Over what" value={overRun ? "run" : "table"} onChange={(value) => put({ over: value })}
            data={[{ value: "table", label: "This table" }, { value: "run", label: "All of the run" }]}
          />
        )}
        <span className="quiet">
          {overRun ? (tables.length > 0 ? `Tables: ${tables.join(", ")}` : "This run left no tables.") : database ? `The table is called ${from}` : "The table is called data"}
        </span>
        {text.trim() === "" && (
          <Button size="compact-sm" variant="subtle" onClick={() => setText(`SELECT * FROM ${from} LIMIT 100`)}>
            Begin with SELECT * FROM {from}
          </Button>
        )}
        <span className="grow" />
        {result.data && (
          <>
            <span role="status">
              {result.data.more && "the first "}
              {result.data.rows.length.toLocaleString("en-US")} {result.data.rows.length === 1 ? "row" : "rows"}
              {result.data.more && (result.data.rows.length < MOST_RESULTS ? "" : " of more")}
            </span>
            <SegmentedControl
              size="xs" aria-label="Result as" value={view} onChange={(value) => put({ view: value })}
              data={[{ value: "rows", label: "Rows" }, { value: "chart", label: "Chart" }]}
            />
          </>
        )}
      </div>
      {result.error && (
        <pre role="alert" className="sql-said mono">
          {result.error.message}
        </pre>
      )}
      {result.data &&
        (view === "chart" ? (
          <Suspense fallback={<div className="chart" aria-busy />}>
            <Chart result={result.data} chosen={address.get("chart")} onChoose={(value) => put({ chart: value })} />
          </Suspense>
        ) : (
          <Rows result={result.data} />
        ))}
    </div>
  );
}

function Rows({ result }: { result: Result }) {
  const height = useRowHeight();
  const rows = useRows(result.rows.length, height, HEAD);
  return (
    <Grid
      label="Result" columns={result.columns} total={result.rows.length} height={height} headHeight={HEAD} rows={rows}
      at={(row) => result.rows[row]} isCut={(row, column) => result.cut.some(([each, which]) => each === row && which === column)}
    />
  );
}

/** A name as SQL wants it. */
const quoted = (name: string): string => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

/** SQL over a database names its tables itself. */
function without(source: Source | null): Source {
  const { table: _, ...rest } = source ?? {};
  return rest;
}
