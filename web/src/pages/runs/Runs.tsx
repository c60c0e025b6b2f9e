import "./runs.css";
import { Title } from "@mantine/core";
import { useMemo } from "react";
import { useParams, useSearchParams } from "react-router";
import { count } from "../../parts/words";
import { FilterBar } from "./FilterBar";
import { filtersOf } from "./filters";
import { useLiveRuns } from "./queries";
import { RunTable } from "./RunTable";

/** What ran, newest first; the filters are in the address. */
export default function Runs() {
  const { workspace = "" } = useParams();
  useLiveRuns(workspace);
  const [address] = useSearchParams();
  const asked = address.toString();
  const filters = useMemo(() => filtersOf(new URLSearchParams(asked)), [asked]);
  return (
    <div className="runs">
      <div className="runs-head">
        <Title order={1}>Runs</Title>
        <FilterBar workspace={workspace} />
      </div>
      <RunTable key={`${workspace} ${asked}`} workspace={workspace} filters={filters} filtered={asked !== ""} />
    </div>
  );
}

/** How many runs there are, as far as that is known. */
export const runsCounted = (number: number, exact: boolean): string => `${exact ? "" : "at least "}${count(number, "run")}`;
