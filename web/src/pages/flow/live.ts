import { type InfiniteData, type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef } from "react";
import { type Change, fold, useChanges } from "../../api/live";
import { renew } from "../../api/queries";
import { flowDetails, lastRuns } from "./queries";

/** At most so often is asked again what changes with every run. */
const MILLISECONDS_BETWEEN_LOOKS = 700;

const MILLISECONDS_BETWEEN_LONG_LOOKS = 5000;

/** Whether so many files are shown that asking for them again is much. */
function manyFiles(client: QueryClient, workspace: string, name: string): boolean {
  const lists = client.getQueriesData<InfiniteData<unknown>>({ queryKey: [workspace, "flow", name, "sources"] });
  return lists.some(([, list]) => (list?.pages.length ?? 0) > 3);
}

/** Lets what is shown of a flow follow its runs: changes go into the runs that are known, the rest is asked for anew. */
export function useLiveFlow(workspace: string, name: string): void {
  const client = useQueryClient();
  const due = useRef(new Map<string, number>());
  useEffect(() => {
    const timers = due.current;
    return () => {
      for (const timer of timers.values()) window.clearTimeout(timer);
      timers.clear();
    };
  }, [workspace, name]);
  useChanges(
    workspace,
    useCallback(
      (changes: Change[]) => {
        const look = (what: string, milliseconds = MILLISECONDS_BETWEEN_LOOKS) => {
          if (due.current.has(what)) return;
          const timer = window.setTimeout(() => {
            due.current.delete(what);
            renew(client, { queryKey: [workspace, "flow", name, what] });
          }, milliseconds);
          due.current.set(what, timer);
        };
        const key = lastRuns(workspace, name).queryKey;
        for (const change of changes) {
          if (change.kind === "flow" && change.id === name)
            renew(client, { queryKey: flowDetails(workspace, name).queryKey, exact: true });
          const { row } = change;
          if (row?.flow !== name) continue;
          const known = client.getQueryData(key)?.runs.some((each) => each.id === row.id);
          if (known) client.setQueryData(key, (page) => page && { ...page, runs: page.runs.map((each) => fold(each, change)) });
          else look("runs");
          if (change.kind !== "run") continue;
          look("sources", manyFiles(client, workspace, name) ? MILLISECONDS_BETWEEN_LONG_LOOKS : undefined);
          if (!row.finished_at) continue;
          look("durations");
          look("versions");
        }
      },
      [client, workspace, name],
    ),
  );
}
