import { useMemo } from "react";
import { useSearchParams } from "react-router";
import type { Filter, Selection, Sort } from "../../parts/table/tables";

/** What is sorted and filtered, as it stands in the address: `sort=-delay`, `where=["carrier","=","UA"]`. */
export function useSelection() {
  const [address, setAddress] = useSearchParams();
  const sorts = address.getAll("sort").join("\n");
  const wheres = address.getAll("where").join("\n");
  const selection = useMemo<Selection>(
    () => ({ sort: sorts.split("\n").filter(Boolean).map(sortOf), filters: wheres.split("\n").flatMap(filterOf) }),
    [sorts, wheres],
  );
  const put = (name: "sort" | "where", values: string[]) =>
    setAddress(
      (known) => {
        const next = new URLSearchParams(known);
        next.delete(name);
        for (const value of values) next.append(name, value);
        return next;
      },
      { replace: true },
    );
  return {
    selection,
    setSort: (sort: Sort[]) => put("sort", sort.map((each) => (each.descending ? "-" : "+") + each.column)),
    setFilters: (filters: Filter[]) => put("where", filters.map((each) => JSON.stringify([each.column, each.op, each.value]))),
  };
}

function sortOf(text: string): Sort {
  const signed = text.startsWith("-") || text.startsWith("+");
  return { column: signed ? text.slice(1) : text, descending: text.startsWith("-") };
}

/** An address may have been typed: what is no filter is left out. */
function filterOf(text: string): Filter[] {
  try {
    const [column, op, value] = JSON.parse(text) as [unknown, unknown, Filter["value"] | null];
    if (typeof column !== "string" || typeof op !== "string") return [];
    return [value === undefined || value === null ? { column, op } : { column, op, value }];
  } catch {
    return [];
  }
}
