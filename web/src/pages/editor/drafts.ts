import { useCallback, useSyncExternalStore } from "react";
import type { Body } from "./queries";

/** What was written and not saved; `tag` names the version of the file that it was begun from. */
export interface Draft extends Body {
  tag: string;
}

/** A version that gave way to another one; it stays until somebody says that it may go. */
export interface Aside extends Body {
  whose: "yours" | "theirs";
  at: string;
}

type Kind = "draft" | "aside";

const held = new Map<string, Draft | Aside | null>();
const unwritten = new Set<string>();
const watchers = new Set<() => void>();
let due: number | undefined;

const keyOf = (kind: Kind, workspace: string, path: string) => `flowstead:${kind}:${workspace}:${path}`;

/** Writes what was typed last where it outlives this window. */
function flush(): void {
  due = undefined;
  for (const key of unwritten) {
    const value = held.get(key);
    try {
      if (value) localStorage.setItem(key, JSON.stringify(value));
      else localStorage.removeItem(key);
      unwritten.delete(key);
    } catch {
      // No room: it is kept here, and leaving the page asks first.
    }
  }
}

window.addEventListener("pagehide", flush);
window.addEventListener("beforeunload", (event) => {
  flush();
  if ([...held].some(([key, value]) => value && key.startsWith("flowstead:draft:"))) event.preventDefault();
});
// What another tab wrote counts here too, unless this one is about to write the same file.
window.addEventListener("storage", ({ key }) => {
  if (!key || !/^flowstead:(draft|aside):/.test(key) || unwritten.has(key)) return;
  held.delete(key);
  tell();
});

function tell(): void {
  listed = null;
  for (const watcher of watchers) watcher();
}

function read(key: string): Draft | Aside | null {
  const known = held.get(key);
  if (known !== undefined) return known;
  let found: Draft | Aside | null = null;
  try {
    found = JSON.parse(localStorage.getItem(key) ?? "null") as Draft | Aside | null;
  } catch {
    // Nobody else writes there; what does not parse is nothing of ours.
  }
  held.set(key, found);
  return found;
}

function keep(key: string, value: Draft | Aside | null): void {
  held.set(key, value);
  unwritten.add(key);
  due ??= window.setTimeout(flush, 300);
  tell();
}

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** The draft of a file, and what replaces it; null when there is none. */
export function useDraft(workspace: string, path: string): [Draft | null, (draft: Draft | null) => void] {
  const key = keyOf("draft", workspace, path);
  const draft = useSyncExternalStore(watch, () => read(key)) as Draft | null;
  return [draft, useCallback((value) => keep(key, value), [key])];
}

/** The version of a file that gave way last. */
export function useAside(workspace: string, path: string): [Aside | null, (aside: Aside | null) => void] {
  const key = keyOf("aside", workspace, path);
  const aside = useSyncExternalStore(watch, () => read(key)) as Aside | null;
  return [aside, useCallback((value) => keep(key, value), [key])];
}

/** The draft as it is at this moment, for what answers later. */
export const draftNow = (workspace: string, path: string) => read(keyOf("draft", workspace, path)) as Draft | null;

/** A file that got another name takes its draft along; one that is gone, leaves none. */
export function moveDraft(workspace: string, path: string, to: string | null): void {
  const draft = draftNow(workspace, path);
  if (draft && to !== null) keep(keyOf("draft", workspace, to), draft);
  if (draft) keep(keyOf("draft", workspace, path), null);
}

let listed: { workspace: string; paths: ReadonlySet<string> } | null = null;

/** The files of a workspace that have something unsaved. */
export function useDrafts(workspace: string): ReadonlySet<string> {
  return useSyncExternalStore(watch, () => {
    if (listed?.workspace !== workspace) {
      const start = keyOf("draft", workspace, "");
      const keys = new Set([...held.keys(), ...Object.keys(localStorage)].filter((key) => key.startsWith(start)));
      listed = { workspace, paths: new Set([...keys].filter((key) => read(key)).map((key) => key.slice(start.length))) };
    }
    return listed.paths;
  });
}
