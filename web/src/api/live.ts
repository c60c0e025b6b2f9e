import { useEffect, useSyncExternalStore } from "react";
import { ApiError, api, type Run, type Shape, take } from "./client";

export type Change = Shape["Event"];
export type Standing = "connecting" | "live" | "away" | "signed-out";
type Listener = (changes: Change[]) => void;
interface Message {
  change?: Change;
  standing?: Standing;
  /** A tab that has just come asks how the stream stands. */
  hello?: boolean;
}

/** So many of the last changes are kept, for answers that were on their way meanwhile. */
const KEPT = 2000;
/** Changes are handed on together: what is shown is drawn at most this often. */
const MILLISECONDS_TOGETHER = 80;
const MILLISECONDS_BETWEEN_TRIES = 1500;
/** A clock that jumped by so much was asleep, and the stream may be dead without having said so. */
const MILLISECONDS_ASLEEP = 15_000;

/**
 * The changes of one workspace, as they happen. Tabs share one stream: whoever holds the lock reads it and passes on what
 * it brings, and when that tab is closed another one goes on from the last number that it saw.
 */
class Stream {
  standing: Standing = "connecting";
  private readonly listeners = new Set<Listener>();
  private readonly watchers = new Set<() => void>();
  private readonly channel: BroadcastChannel;
  private source: EventSource | null = null;
  private last: number | null = null;
  private recent: Change[] = [];
  private waiting: Change[] = [];
  private greeted = new Set<string>();
  private readonly greetings = new WeakSet<Change>();

  constructor(private readonly workspace: string) {
    this.channel = new BroadcastChannel(`flowstead:${workspace}`);
    this.channel.onmessage = (message: MessageEvent<Message>) => {
      if (message.data.hello) {
        if (this.source) this.channel.postMessage({ standing: this.standing });
      } else this.take(message.data);
    };
    this.channel.postMessage({ hello: true });
    void navigator.locks.request(`flowstead:${workspace}`, () => new Promise<void>(() => this.lead()));
  }

  /** Calls with what changed, several at once; answers how to stop. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  /** The number of the last change that was seen. */
  get seen(): number {
    return this.last ?? 0;
  }

  /** Whether it is one of the states with which each stream begins: news only if they come again. */
  isGreeting(change: Change): boolean {
    return this.greetings.has(change);
  }

  /** A run that came with an answer, as it is now: changes after `since` are newer than what was asked for then. */
  newest<R extends Run>(row: R, since: number): R {
    return this.recent.filter((change) => (change.seq ?? 0) > since).reduce(fold, row);
  }

  private lead(): void {
    this.read();
    let before = Date.now();
    window.setInterval(() => {
      const now = Date.now();
      if (now - before > MILLISECONDS_ASLEEP) this.read();
      before = now;
    }, 5000);
  }

  private read(): void {
    this.source?.close();
    // Race: another tab said that it is live, and was gone before it told of anything. No stream brings what happened
    // until this one begins, so it is not live before that, and then the lists are read anew.
    if (this.last === null && this.standing === "live") this.tell({ standing: "connecting" });
    const after = this.last === null ? "" : `&after=${this.last}`;
    const source = new EventSource(`/api/v1/workspaces/${this.workspace}/events?brief=true&states=true${after}`);
    this.source = source;
    source.onopen = () => {
      this.greeted.clear();
      this.tell({ standing: "live" });
    };
    source.addEventListener("item", (item) => this.tell({ change: JSON.parse(item.data) as Change }));
    source.onerror = () => {
      this.tell({ standing: "away" });
      // A browser connects again by itself, but not after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) void this.again();
    };
    source.addEventListener("end", () => {
      source.close();
      this.tell({ standing: "away" });
      void this.again();
    });
  }

  /** Why there is no stream: a daemon that starts is waited for; changes that it no longer has are read from the lists. */
  private async again(): Promise<void> {
    await new Promise((resolve) => window.setTimeout(resolve, MILLISECONDS_BETWEEN_TRIES));
    try {
      await take(api.GET("/api/v1/health"));
      this.last = null;
      // What was seen before is older than what is asked for from now on, and must not be laid over it.
      this.recent = [];
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.tell({ standing: "signed-out" });
        return;
      }
    }
    this.read();
  }

  private tell(message: Message): void {
    this.channel.postMessage(message);
    this.take(message);
  }

  private take({ change, standing = "live" }: Message): void {
    if (standing !== this.standing) {
      this.standing = standing;
      for (const watcher of this.watchers) watcher();
    }
    if (!change) return;
    if (change.seq !== null) {
      this.last = Math.max(this.last ?? 0, change.seq);
      this.recent.push(change);
      if (this.recent.length > 2 * KEPT) this.recent = this.recent.slice(-KEPT);
    } else if (this.source && !this.greeted.has(change.kind)) {
      this.greeted.add(change.kind);
      this.greetings.add(change);
    }
    if (this.waiting.push(change) === 1)
      window.setTimeout(() => {
        const changes = this.waiting;
        this.waiting = [];
        for (const listener of this.listeners) listener(changes);
      }, MILLISECONDS_TOGETHER);
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

/** Calls with what changed; `listener` has to stay the same one as long as it does the same. */
export function useChanges(workspace: string, listener: Listener): void {
  useEffect(() => streamOf(workspace).listen(listener), [workspace, listener]);
}

/** A run after a change. Changes bring runs without their steps, and of these the one that changed. */
export function fold<R extends Run>(run: R, change: Change): R {
  if (change.row?.id !== run.id) return run;
  const { steps, artifacts } = run;
  const step = change.step;
  const known = step ? steps.findIndex((each) => each.index === step.index) : -1;
  return {
    ...run,
    ...change.row,
    artifacts,
    steps: step && known >= 0 ? steps.with(known, step as Run["steps"][number]) : steps,
  };
}
