import { Button, Group, Progress } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef, useSyncExternalStore } from "react";
import { Link } from "react-router";
import { State } from "../../parts/State";
import { bytes, count } from "../../parts/words";
import { type Upload, uploadsOf } from "./uploads";

const ROW = 36;

/** The files that were dropped on a flow: how far each is, what is to be decided, and its run. */
export function Uploading({ workspace, flow }: { workspace: string; flow: string }) {
  const uploads = uploadsOf(workspace, flow);
  const list = useSyncExternalStore(uploads.watch, uploads.all);
  const box = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({ count: list.length, getScrollElement: () => box.current, estimateSize: () => ROW, overscan: 6 });
  if (list.length === 0) return null;
  const taken = list.filter((each) => each.standing === "exists").map((each) => each.id);
  const landed = list.filter((each) => each.standing === "landed").length;
  const runs = new Set(list.flatMap((each) => (each.run ? [each.run.id] : []))).size;
  const busy = list.some((each) => each.standing === "waiting" || each.standing === "sending");
  return (
    <section className="panel uploading" aria-label="Uploads">
      <div className="panel-head">
        <h2>
          <span role="status">
            {landed} of {count(list.length, "file")} in place{runs > 0 && ` · ${count(runs, "run")}`}
          </span>
        </h2>
        <Group gap="sm">
          {taken.length > 1 && (
            <>
              <span>{taken.length} are there already:</span>
              <Decide label="all" onChoose={(choice) => uploads.resolve(taken, choice)} />
            </>
          )}
          <Button size="compact-xs" variant="default" disabled={busy} onClick={() => uploads.clear()}>
            Clear
          </Button>
        </Group>
      </div>
      <div className="uploads" ref={box} tabIndex={0} role="region" aria-label="Files on their way">
        <ul style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map(({ index, start }) => {
            const upload = list[index];
            return (
              upload && (
                <li key={upload.id} style={{ transform: `translateY(${start}px)`, height: ROW }}>
                  <span className="mono path" title={upload.name}>
                    {upload.name}
                  </span>
                  <span className="mono right quiet">{bytes(upload.file.size)}</span>
                  <Now upload={upload} workspace={workspace} flow={flow} />
                </li>
              )
            );
          })}
        </ul>
      </div>
    </section>
  );
}

function Now({ upload, workspace, flow }: { upload: Upload; workspace: string; flow: string }) {
  const uploads = uploadsOf(workspace, flow);
  const { standing, error, run, landed } = upload;
  if (standing === "waiting") return <span className="quiet">waits for its turn</span>;
  if (standing === "skipped") return <span className="quiet">left out</span>;
  if (standing === "sending")
    return <Progress size="sm" value={upload.file.size ? (100 * upload.sent) / upload.file.size : 0} aria-label={`${upload.name} on its way`} />;
  if (standing === "exists")
    return (
      <span className="line-up">
        <span className="state-waiting">A file of this name is there already.</span>
        <Decide label={upload.name} onChoose={(choice) => uploads.resolve([upload.id], choice)} />
      </span>
    );
  if (standing === "refused")
    return (
      <span className="state-failed" role="alert" title={error?.hint}>
        {error?.message} {error?.hint}
      </span>
    );
  if (run)
    return (
      <span className="line-up">
        <State status={run.status} />
        <Link to={`/w/${workspace}/runs/${run.id}`} aria-label={`${upload.name}: its run`}>
          its run
        </Link>
      </span>
    );
  if (error)
    return (
      <span className="line-up" title={error.hint}>
        <span className="state-failed">In place, and does not run: {error.message}</span>
        <Button size="compact-xs" variant="default" onClick={() => uploads.start(upload.id)}>
          Run
        </Button>
      </span>
    );
  return <span className="quiet">{landed?.starts_by_itself ? "in place; its run begins when the flow has seen it" : "in place; its run begins"}</span>;
}

function Decide({ label, onChoose }: { label: string; onChoose: (choice: "replace" | "both" | "skip") => void }) {
  return (
    <Group gap={4}>
      <Button size="compact-xs" variant="light" aria-label={`Replace ${label}`} onClick={() => onChoose("replace")}>
        Replace
      </Button>
      <Button size="compact-xs" variant="default" aria-label={`Keep both of ${label}`} onClick={() => onChoose("both")}>
        Keep both
      </Button>
      <Button size="compact-xs" variant="default" aria-label={`Skip ${label}`} onClick={() => onChoose("skip")}>
        Skip
      </Button>
    </Group>
  );
}
