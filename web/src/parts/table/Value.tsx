import { type Cell, type Column, grouped, isNumber, shown } from "./tables";

/** What stands in a cell: nothing is told as such, numbers as they are compared. */
export function Value({ column, value }: { column: Column; value: Cell }) {
  if (value === null || value === undefined) return <span className="table-null">null</span>;
  if (isNumber(column)) return <>{/year|_id$|^id$/i.test(column.name) ? shown(value) : grouped(value)}</>;
  if (value === "") return <span className="table-null">empty</span>;
  if (column.kind === "timestamp") return <>{shown(value).replace("T", " ")}</>;
  return <>{shown(value)}</>;
}
