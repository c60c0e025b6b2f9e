import { useCallback, useEffect, useRef, useState } from "react";
import { type Change, streamOf, useChanges } from "../../api/live";

/** So many are shown; the ledger has all of them. */
const MOST = 2000;
/** So many that were there before the page was opened. */
const EARLIER = 300;

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
  useEarlier(workspace, add);
  return { shown, fresh, catchUp };
}

/** What was told before; a stream of its own, which ends where the shared one has begun. */
function useEarlier(workspace: string, add: (changes: Change[]) => void): void {
  const take = useRef(add);
  take.current = add;
  useEffect(() => {
    const { seen } = streamOf(workspace);
    const found: Change[] = [];
    let source: EventSource | undefined;
    const finish = () => {
      source?.close();
      if (found.length > 0) take.current(found);
      found.length = 0;
    };
    const timer = window.setTimeout(finish, 1000);
    source = new EventSource(`/api/v1/workspaces/${workspace}/events?brief=true&after=${Math.max(0, seen - EARLIER)}`);
    source.addEventListener("item", (item) => {
      const change = JSON.parse(item.data) as Change;
      found.push(change);
      if (seen > 0 && (change.seq ?? 0) >= seen) finish();
    });
    source.onerror = finish;
    return () => {
      window.clearTimeout(timer);
      source.close();
    };
  }, [workspace]);
}

/** Each change once, in order; of the progress of one step the latest. */
function together(changes: Change[]): Change[] {
  const latest = new Map<string, Change>();
  for (const change of changes) {
    const key = change.change === "progress" ? `progress ${change.id}` : `${change.seq ?? change.at} ${change.kind} ${change.id}`;
    latest.delete(key);
    latest.set(key, change);
  }
  return [...latest.values()].sort((one, other) => Date.parse(one.at) - Date.parse(other.at) || (one.seq ?? 0) - (other.seq ?? 0)).slice(-MOST);
}
