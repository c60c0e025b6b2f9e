import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { type Change, useChanges } from "../../api/live";
import { overview } from "../../api/queries";

/** So many are shown; the ledger has all of them. */
const MOST = 2000;
/** So many that were there before the page was opened. */
const EARLIER = 2000;
const SECONDS_OF_QUIET = 2;

/** What happened, the newest first; while `held` it stays as it is, and `fresh` counts what came since. */
export function useHappenings(workspace: string, held: boolean) {
  const all = useRef<Change[]>([]);
  const [shown, setShown] = useState<Change[]>([]);
  const [fresh, setFresh] = useState(0);
  const add = useCallback(
    (changes: Change[]) => {
      all.current = together([...all.current, ...changes]);
      if (held) setFresh((count) => count + changes.length);
      else {
        setShown(all.current.toReversed());
        setFresh(0);
      }
    },
    [held],
  );
  useChanges(workspace, add);
  const catchUp = useCallback(() => {
    setShown(all.current.toReversed());
    setFresh(0);
  }, []);
  useEffect(() => {
    if (!held) catchUp();
  }, [held, catchUp]);
  // What was told before is none of what is new: it is shown also under a pointer that happens to be there.
  const addEarlier = useCallback(
    (changes: Change[]) => {
      all.current = together([...changes, ...all.current]);
      catchUp();
    },
    [catchUp],
  );
  useEarlier(workspace, addEarlier);
  return { shown, fresh, catchUp };
}

/** What was told before: a stream of its own, which ends at the number that an overview gave. */
function useEarlier(workspace: string, add: (changes: Change[]) => void): void {
  // Asked for anew each time: what came since an older answer would be missing.
  const until = useQuery({ ...overview(workspace), queryKey: [workspace, "earlier"], gcTime: 0, refetchInterval: false }).data?.after;
  const [end, setEnd] = useState<number>();
  if (end === undefined && until !== undefined) setEnd(until);
  useEffect(() => {
    if (!end) return;
    const found: Change[] = [];
    const source = new EventSource(`/api/v1/workspaces/${workspace}/events?brief=true&after=${Math.max(0, end - EARLIER)}`);
    const finish = () => {
      source.close();
      if (found.length > 0) add(found.splice(0));
    };
    // Of several changes to one row only the last is told, so that the number itself may never come.
    let quiet = window.setTimeout(finish, SECONDS_OF_QUIET * 1000);
    source.addEventListener("item", (item) => {
      const change = JSON.parse(item.data) as Change;
      found.push(change);
      window.clearTimeout(quiet);
      quiet = window.setTimeout(finish, (change.seq ?? 0) >= end ? 0 : SECONDS_OF_QUIET * 1000);
    });
    source.onerror = finish;
    return () => {
      window.clearTimeout(quiet);
      source.close();
    };
  }, [workspace, end, add]);
}

/** Each change once, in order; of a step only how it stands. */
function together(changes: Change[]): Change[] {
  const latest = new Map<string, Change>();
  const inOrder = changes.toSorted((one, other) => Date.parse(one.at) - Date.parse(other.at) || (one.seq ?? 0) - (other.seq ?? 0));
  for (const change of inOrder) {
    const key = change.kind === "step" ? change.id : `${change.seq ?? change.at} ${change.kind} ${change.id}`;
    latest.delete(key);
    latest.set(key, change);
  }
  return [...latest.values()].slice(-MOST);
}
