import { useSyncExternalStore } from "react";
import { ago, ahead, duration, exact } from "./words";

let now = Date.now();
const watchers = new Set<() => void>();
window.setInterval(() => {
  now = Date.now();
  for (const each of watchers) each();
}, 1000);

function useNow(): number {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => now,
  );
}

/** How long ago, kept true; the exact time on hover. */
export function Ago({ at }: { at: string | null | undefined }) {
  const moment = useNow();
  return at ? (
    <time dateTime={at} title={exact(at)}>
      {ago(at, moment)}
    </time>
  ) : null;
}

/** How long something took, or takes while it is under way. */
export function Took({ from, to }: { from: string | null; to: string | null }) {
  const moment = useNow();
  if (!from) return null;
  return <>{duration((to ? Date.parse(to) : Math.max(moment, Date.parse(from))) - Date.parse(from))}</>;
}

/** How long until something is due, kept true. */
export function Due({ at }: { at: string }) {
  const moment = useNow();
  return (
    <time dateTime={at} title={exact(at)}>
      {ahead(at, moment)}
    </time>
  );
}
