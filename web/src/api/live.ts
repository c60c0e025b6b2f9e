import { useSyncExternalStore } from "react";
import type { Run, Shape } from "./client";

export type Change = Shape["Event"];
type Listener = (change: Change) => void;
export type Standing = "connecting" | "live" | "away";

/** So many rows that changed last are kept, for answers that were on their way meanwhile. */
const KEPT = 1000;

/**
 * The changes of one workspace, as they happen. Tabs share one stream: whoever holds the lock reads it and passes on what
 * it brings, and when that tab is closed another one goes on from the last number that it saw.
 */
class Stream {
  standing: Standing = "connecting";
  private readonly listeners = new Set<Listener>();
  private readonly watchers = new Set<() => void>();
  private readonly channel: BroadcastChannel;
  private last: number | null = null;
  private readonly rows = new Map<string, Change>();

  constructor(private readonly workspace: string) {
    this.channel = new BroadcastChannel(`flowstead:${workspace}`);
    this.channel.onmessage = (message) => this.take(message.data);
    void navigator.locks.request(`flowstead:${workspace}`, () => new Promise<void>(() => this.read()));
  }

  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The number of the last change that was seen. */
  get seen(): number {
    return this.last ?? 0;
  }

  /** Rows that came with an answer, each as it is now: changes after `since` are newer than what was asked for then. */
  newest<R extends Run>(rows: R[], since: number): R[] {
    return rows.map((row) => {
      const change = this.rows.get(row.id);
      return change && (change.seq ?? 0) > since ? { ...row, ...runOf(change) } : row;
    });
  }

  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  private read(): void {
    const after = this.last === null ? "" : `?after=${this.last}`;
    const source = new EventSource(`/api/v1/workspaces/${this.workspace}/events${after}`);
    const told = (standing: Standing) => this.tell({ standing });
    source.onopen = () => told("live");
    source.addEventListener("item", (item) => this.tell({ change: JSON.parse(item.data) as Change }));
    source.onerror = () => {
      told("away");
      // A browser connects again by itself, but not after an answer that is no stream (a daemon that just starts).
      if (source.readyState === EventSource.CLOSED) window.setTimeout(() => this.read(), 1500);
    };
    source.addEventListener("end", () => {
      source.close();
      told("away");
      window.setTimeout(() => this.read(), 1500);
    });
  }

  private tell(message: { change?: Change; standing?: Standing }): void {
    this.channel.postMessage(message);
    this.take(message);
  }

  private take(message: { change?: Change; standing?: Standing }): void {
    const standing = message.standing ?? "live";
    if (standing !== this.standing) {
      this.standing = standing;
      for (const watcher of this.watchers) watcher();
    }
    if (message.change) {
      const row = runOf(message.change);
      // What is told of the workspace itself has no number: it is not on record, and comes again.
      this.last = Math.max(this.last ?? 0, message.change.seq ?? 0);
      if (row) {
        this.rows.delete(row.id);
        this.rows.set(row.id, message.change);
        const [oldest] = this.rows.keys();
        if (this.rows.size > KEPT && oldest !== undefined) this.rows.delete(oldest);
      }
      for (const listener of this.listeners) listener(message.change);
    }
  }
}

const streams = new Map<string, Stream>();

export function streamOf(workspace: string): Stream {
  let stream = streams.get(workspace);
  if (!stream) streams.set(workspace, (stream = new Stream(workspace)));
  return stream;
}

/** Whether the daemon is there, for this workspace. */
export function useStanding(workspace: string): Standing {
  const stream = streamOf(workspace);
  return useSyncExternalStore(stream.watch, () => stream.standing);
}

/** The run that a change brings; null for a change of anything else. */
export function runOf(change: Change): Run | null {
  return change.kind === "run" || change.kind === "step" ? (change.row as Run | null) : null;
}
