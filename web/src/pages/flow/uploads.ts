import { api, ApiError, type Shape, take } from "../../api/client";
import { type Change, streamOf } from "../../api/live";

export type Standing = "waiting" | "sending" | "exists" | "landed" | "refused" | "skipped";

/** One file on its way: from here into the source folder, and from there through a run. */
export interface Upload {
  id: number;
  file: File;
  name: string;
  standing: Standing;
  sent: number;
  replace: boolean;
  begunAt: number;
  landed: Shape["Uploaded"] | null;
  run: { id: string; status: string } | null;
  /** Why it could not be put there, or, once it is there, why it does not run. */
  error: ApiError | null;
}

const AT_ONCE = 3;

/**
 * The files that were dropped on one flow. They go in a few at a time, each whole or not at all, and run: by themselves
 * where the flow looks at its folder, else they are started from here. Leaving the page does not end them.
 */
class Uploads {
  list: readonly Upload[] = [];
  private next = 1;
  private readonly watchers = new Set<() => void>();
  private drawing = false;
  private toStart: Upload[] = [];

  constructor(
    private readonly workspace: string,
    private readonly flow: string,
  ) {
    streamOf(workspace).listen((changes) => this.follow(changes));
    window.addEventListener("beforeunload", (event) => {
      if (this.list.some((each) => each.standing === "sending" || each.standing === "waiting")) event.preventDefault();
    });
  }

  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  all = (): readonly Upload[] => this.list;

  add(files: File[]): void {
    const added = files.map((file): Upload => ({
      id: this.next++, file, name: file.name, standing: "waiting", sent: 0, replace: false, begunAt: 0, landed: null, run: null, error: null,
    }));
    this.list = [...this.list, ...added];
    this.draw();
    this.go();
  }

  /** What to do with those whose name is taken: replace what is there, keep both under a new name, or leave them out. */
  resolve(ids: number[], choice: "replace" | "both" | "skip"): void {
    for (const id of ids)
      this.put(id, (each) => {
        if (choice === "skip") return { ...each, standing: "skipped", error: null };
        const name = choice === "both" ? this.free(each.name) : each.name;
        return { ...each, standing: "waiting", name, replace: choice === "replace", error: null };
      });
    this.go();
  }

  /** Runs one that is in place and was not started. */
  start(id: number): void {
    const upload = this.list.find((each) => each.id === id);
    if (!upload) return;
    this.put(id, (each) => ({ ...each, error: null }));
    this.toStart.push(upload);
    void this.startAll();
  }

  /** Forgets those with which nothing happens any more. */
  clear(): void {
    this.list = this.list.filter((each) => each.standing === "waiting" || each.standing === "sending" || each.standing === "exists");
    this.draw();
  }

  private free(name: string): string {
    const dot = name.indexOf(".", 1);
    const [stem, ending] = dot < 0 ? [name, ""] : [name.slice(0, dot), name.slice(dot)];
    const counted = / \((\d+)\)$/.exec(stem);
    return counted ? `${stem.slice(0, counted.index)} (${Number(counted[1]) + 1})${ending}` : `${stem} (2)${ending}`;
  }

  private go(): void {
    const under = this.list.filter((each) => each.standing === "sending").length;
    for (const each of this.list.filter((one) => one.standing === "waiting").slice(0, AT_ONCE - under)) void this.send(each);
    if (under === 0) void this.startAll();
  }

  private async send({ id, file, name, replace }: Upload): Promise<void> {
    this.put(id, (each) => ({ ...each, standing: "sending", sent: 0, begunAt: Date.now() }));
    const query = new URLSearchParams({ file: name, ...(replace ? { replace: "true" } : {}) });
    const address = `/api/v1/workspaces/${this.workspace}/flows/${encodeURIComponent(this.flow)}/upload?${query}`;
    try {
      const landed = await post(address, file, (sent) => this.put(id, (each) => ({ ...each, sent })));
      this.put(id, (each) => ({ ...each, standing: "landed", sent: file.size, landed }));
      const upload = this.list.find((each) => each.id === id);
      if (upload && !landed.starts_by_itself) this.toStart.push(upload);
    } catch (error) {
      const told = error as ApiError;
      this.put(id, (each) => ({ ...each, standing: told.code === "file-exists" ? "exists" : "refused", error: told }));
    }
    this.go();
  }

  /** Starts what is in place and does not start by itself: each file, or the whole folder once. */
  private async startAll(): Promise<void> {
    const due = this.toStart;
    if (due.length === 0) return;
    this.toStart = [];
    const { workspace, flow: name } = this;
    const path = { workspace, name };
    try {
      const flow = await take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}", { params: { path } }));
      const whole = flow.trigger?.run_as === "batch";
      const { source } = await take(
        api.GET("/api/v1/workspaces/{workspace}/flows/{name}/sources", { params: { path, query: { limit: 1 } } }),
      );
      const bodies = whole ? [{ body: {}, of: due }] : due.map((each) => ({ body: { source: `${source}/${each.landed?.source_path}` }, of: [each] }));
      for (const { body, of } of bodies) {
        try {
          const answer = await take(api.POST("/api/v1/workspaces/{workspace}/flows/{name}/start", { params: { path }, body }));
          const [run] = [...answer.started, ...answer.waiting, ...answer.resumed];
          for (const { id } of of)
            if (run) this.put(id, (each) => (each.run ? each : { ...each, run: { id: run, status: "queued" } }));
        } catch (error) {
          for (const { id } of of) this.put(id, (each) => ({ ...each, error: error as ApiError }));
        }
      }
    } catch (error) {
      for (const { id } of due) this.put(id, (each) => ({ ...each, error: error as ApiError }));
    }
  }

  /** Runs are found by what they run on; the newest counts, for a file may be dropped again. */
  private follow(changes: Change[]): void {
    for (const { row } of changes) {
      if (row?.flow !== this.flow) continue;
      for (const each of this.list) {
        if (each.standing !== "landed" && each.standing !== "sending") continue;
        const known = each.run?.id === row.id;
        const its = (row.source_path === null || row.source_path === each.name) && Date.parse(row.queued_at) >= each.begunAt;
        if (known || (its && (!each.run || row.id > each.run.id)))
          this.put(each.id, (one) => ({ ...one, run: { id: row.id, status: row.status } }));
      }
    }
  }

  private put(id: number, change: (each: Upload) => Upload): void {
    this.list = this.list.map((each) => (each.id === id ? change(each) : each));
    this.draw();
  }

  /** Drawn once a frame, however much comes. */
  private draw(): void {
    if (this.drawing) return;
    this.drawing = true;
    window.setTimeout(() => {
      this.drawing = false;
      for (const watcher of this.watchers) watcher();
    }, 16);
  }
}

const known = new Map<string, Uploads>();

export function uploadsOf(workspace: string, flow: string): Uploads {
  const key = `${workspace} ${flow}`;
  let uploads = known.get(key);
  if (!uploads) known.set(key, (uploads = new Uploads(workspace, flow)));
  return uploads;
}

/** Sends a file as it is. Requests of this older kind tell how much was sent. */
function post(address: string, file: File, onSent: (bytes: number) => void): Promise<Shape["Uploaded"]> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.responseType = "json";
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onSent(event.loaded);
    request.onload = () => {
      if (request.status === 200) return resolve(request.response as Shape["Uploaded"]);
      const told = (request.response ?? {}) as Partial<Shape["Error"]>;
      reject(new ApiError(told.code ?? "unknown", told.message ?? `The daemon answered with ${request.status}.`, told.hint ?? "", request.status, told.detail));
    };
    // Also where the file itself can no longer be read, or is a folder.
    request.onerror = () => reject(new ApiError("not-sent", `${file.name} could not be sent.`, "Is it still there, and is it a file? Drop it again.", 0));
    request.send(file);
  });
}
