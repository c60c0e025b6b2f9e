import { Button, Chip, Group, Title } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef, useState } from "react";
import { Link, useParams } from "react-router";
import type { Change } from "../../api/live";
import { useLabels } from "../../api/queries";
import { useAddress } from "../../parts/address";
import { FilterBox } from "../../parts/FilterBox";
import { State } from "../../parts/State";
import { Empty } from "../../parts/Trouble";
import { exact, said, timeOfDay } from "../../parts/words";
import "./activity.css";
import { useHappenings } from "./happenings";

const KINDS = ["run", "step", "artifact", "files", "standing", "engine"] as const;
const NAMES: Record<(typeof KINDS)[number], string> = {
  run: "Runs", step: "Steps", artifact: "Artifacts", files: "Source files", standing: "Ownership", engine: "Engine",
};
const ROW = 32;

/** What happens, as it happens, the newest first. It stands still while the pointer is on it. */
export default function Activity() {
  const { workspace = "" } = useParams();
  const { address, put } = useAddress();
  const [held, setHeld] = useState(false);
  const view = useRef<HTMLDivElement>(null);
  const { shown, fresh, catchUp } = useHappenings(workspace, held);
  const labels = useLabels(workspace);
  const kinds = address.get("kinds")?.split(",") ?? ["run", "standing", "engine"];
  const text = address.get("text") ?? "";
  const told = shown
    .map((change) => ({ change, ...tell(change, (flow) => labels?.get(flow) ?? flow) }))
    .filter(({ change, what, about }) => kinds.includes(change.kind) && `${what} ${about}`.toLowerCase().includes(text.toLowerCase()));
  const rows = useVirtualizer({ count: told.length, getScrollElement: () => view.current, estimateSize: () => ROW, overscan: 20 });
  return (
    <div className="activity">
      <Group justify="space-between">
        <Title order={1}>Activity</Title>
        <Group gap="sm">
          <Chip.Group multiple value={kinds} onChange={(chosen) => put({ kinds: chosen.join(",") || "none" })}>
            {KINDS.map((kind) => (
              <Chip key={kind} value={kind} size="xs" variant="outline">
                {NAMES[kind]}
              </Chip>
            ))}
          </Chip.Group>
          <FilterBox label="Filter" placeholder="Filter" width={180} list=".happenings" text={text} onChange={(typed) => put({ text: typed || null })} />
        </Group>
      </Group>
      <section className="panel" aria-label="What happens">
        {fresh > 0 && (
          <Button size="compact-xs" className="fresh" onClick={catchUp}>
            {fresh.toLocaleString()} new
          </Button>
        )}
        {told.length === 0 ? (
          <Empty command="flowstead run first_flow">
            Nothing of this kind has happened yet. What runs, from here or from a terminal, is told here as it happens:
          </Empty>
        ) : (
          <div
            ref={view}
            className="happenings"
            role="log"
            aria-live="off"
            aria-label="Events"
            tabIndex={0}
            onPointerEnter={() => setHeld(true)}
            onPointerLeave={() => setHeld(false)}
          >
            <div style={{ height: rows.getTotalSize(), position: "relative" }}>
              {rows.getVirtualItems().map((item) => {
                const row = told[item.index];
                if (!row) return null;
                const { change, status, what, about, to } = row;
                return (
                  <div key={item.key} className="happening" style={{ top: item.start }}>
                    <time className="mono quiet" dateTime={change.at} title={exact(change.at)}>
                      {timeOfDay(change.at)}
                    </time>
                    <State bare status={status} />
                    <span className="what">{to ? <Link to={`/w/${workspace}/${to}`}>{what}</Link> : what}</span>
                    <span className="quiet what">{about}</span>
                    <span className="mono quiet right">{change.seq?.toLocaleString()}</span>
                  </div>
                );
              })}
            </div>
          </div>
        )}
      </section>
    </div>
  );
}

interface Told {
  status: string;
  what: string;
  about: string;
  to?: string;
}

/** A change in words. */
function tell(change: Change, label: (flow: string) => string): Told {
  const { kind, id, row } = change;
  const state = change.state as { message?: string; automated?: boolean } | undefined;
  const to = row ? `runs/${row.id}` : undefined;
  const flow = row ? label(row.flow) : "";
  switch (kind) {
    case "run":
      return {
        status: change.change,
        what: `${flow} ${change.change}`,
        // The row is as it is by now: what came of it belongs to its end.
        about: (row?.status === change.change && (row.error ? said(row.error) : row.summary)) || (row?.source_path ?? row?.trigger ?? ""),
        to,
      };
    case "step": {
      const { step } = change;
      const items = step?.items_total != null ? ` · ${(step.items_done ?? 0).toLocaleString()} of ${step.items_total.toLocaleString()}` : "";
      const status = change.change === "progress" ? "running" : change.change;
      return { status, what: `${flow} · ${step?.label ?? `step ${id.split("/")[1]}`}`, about: `${change.change}${items}`, to };
    }
    case "artifact":
      return { status: "ok", what: `${flow} · ${id.split("/").slice(1).join("/")}`, about: `artifact ${change.change}`, to: to && `${to}?tab=data` };
    case "files":
      return { status: change.change, what: label(id), about: `a source file ${change.change}`, to: `flows/${id}?tab=files` };
    case "standing":
      return { status: change.change === "mine" ? "ok" : change.change === "owned" ? "running" : "waiting", what: state?.message ?? change.change, about: "ownership" };
    case "engine":
      return { status: state?.automated ? "ok" : "pending", what: state?.automated ? "Flows start by themselves" : "Flows start only by hand", about: "engine" };
    default:
      return { status: "pending", what: id, about: `${kind} ${change.change}` };
  }
}
