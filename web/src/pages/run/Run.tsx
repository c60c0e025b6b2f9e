import { Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useParams } from "react-router";
import type { Run } from "../../api/client";
import { run } from "../../api/queries";
import { State } from "../../parts/State";
import { Trouble } from "../../parts/Trouble";
import { TABS, type Tab, useLook } from "./address";
import { DataTab } from "./DataTab";
import { DetailsTab } from "./DetailsTab";
import { ErrorTab } from "./ErrorTab";
import { Heading } from "./Heading";
import { Log } from "./Log";
import { useExtent } from "./logLines";
import { ReportTab } from "./ReportTab";
import { Timeline } from "./Timeline";
import "./run.css";

const NAMES: Record<Tab, string> = { logs: "Logs", data: "Data", error: "Error", report: "Report", details: "Details" };
/** The keys that open a tab, while the page has the focus. */
const KEYS: Record<string, Tab> = { l: "logs", d: "data", e: "error", r: "report", i: "details" };

/** One run: its steps in time, and beside them whatever is known of it, or of the chosen step. */
export default function RunPage() {
  const { workspace = "", run: runId = "" } = useParams();
  const found = useQuery(run(workspace, runId));
  if (found.error && !found.data) return <Trouble error={found.error} />;
  return found.data ? <Shown key={found.data.id} workspace={workspace} row={found.data} /> : <Ahead workspace={workspace} runId={runId} />;
}

/** While the run is on its way its log is asked for already: a long one takes its time. */
function Ahead({ workspace, runId }: { workspace: string; runId: string }) {
  useExtent(workspace, runId);
  return null;
}

function Shown({ workspace, row }: { workspace: string; row: Run }) {
  const [look, setLook] = useLook();
  // Where a run that failed is opened, its error is; one that fails while it is watched moves nothing away.
  const [first] = useState<Tab>(row.error && look.line === null && look.text === "" ? "error" : "logs");
  const tab = look.tab ?? first;
  const page = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLInputElement>(null);
  // Asked for before the log was there, its field takes the focus, and what was typed meanwhile, as soon as it is.
  const awaited = useRef<string | null>(null);
  const fieldShown = useCallback(
    (shown: HTMLInputElement | null) => {
      field.current = shown;
      if (!shown || awaited.current === null) return;
      if (awaited.current) setLook({ text: awaited.current });
      awaited.current = null;
      shown.focus();
    },
    [setLook],
  );
  // Before anything is drawn: the next key is meant for this page.
  useLayoutEffect(() => {
    if (document.activeElement === document.body) page.current?.focus({ preventScroll: true });
  }, []);

  const step = row.steps.find((each) => each.name === look.step);
  const choose = (name: string | null, item: number | null) =>
    setLook({ step: name, item, line: null, ...(item !== null ? { tab: "error" as const } : {}) });
  const onKeyDown = (event: KeyboardEvent | globalThis.KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
    if (awaited.current !== null) {
      if (event.key.length === 1) awaited.current += event.key;
      return;
    }
    const wanted = KEYS[event.key];
    if (wanted) setLook({ tab: wanted });
    else if (event.key === "/") {
      setLook({ tab: "logs" });
      awaited.current = field.current ? null : "";
      field.current?.focus();
    } else return;
    event.preventDefault();
  };
  // A dialog that led here gives the focus back to nobody, and keys then go to nobody's element.
  useEffect(() => {
    const pressed = (event: globalThis.KeyboardEvent) => event.target === document.body && onKeyDown(event);
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  });
  const common = { workspace, run: row, step };
  return (
    <div ref={page} className="run" tabIndex={-1} onKeyDown={onKeyDown}>
      <Heading {...common} onError={() => setLook({ tab: "error", step: null, item: null })} />
      <div className="run-columns">
        <section className="panel run-left" aria-label="Timeline">
          <Timeline workspace={workspace} run={row} step={look.step} item={look.item} onChoose={choose} />
        </section>
        <Tabs
          className="panel run-right"
          value={tab}
          onChange={(value) => setLook({ tab: TABS.find((each) => each === value) ?? null })}
          keepMounted={false}
        >
          <Tabs.List aria-label="About this run">
            {TABS.map((each) => (
              <Tabs.Tab key={each} value={each}>
                {NAMES[each]}
                <Mark tab={each} row={row} />
              </Tabs.Tab>
            ))}
            {step && (
              <button type="button" className="plain run-chosen" title="Show all steps (Escape)" onClick={() => choose(null, null)}>
                {step.label}
                {look.item !== null && `, item ${look.item}`} ✕
              </button>
            )}
          </Tabs.List>
          <Tabs.Panel value="logs">
            <Log workspace={workspace} run={row} look={look} onLook={setLook} field={fieldShown} />
          </Tabs.Panel>
          <Tabs.Panel value="data" className="run-scroll" tabIndex={0}>
            <DataTab {...common} />
          </Tabs.Panel>
          <Tabs.Panel value="error" className="run-scroll" tabIndex={0}>
            <ErrorTab {...common} item={look.item} onChoose={choose} />
          </Tabs.Panel>
          <Tabs.Panel value="report" className="run-scroll" tabIndex={0}>
            <ReportTab {...common} />
          </Tabs.Panel>
          <Tabs.Panel value="details" className="run-scroll" tabIndex={0}>
            <DetailsTab {...common} />
          </Tabs.Panel>
        </Tabs>
      </div>
    </div>
  );
}

/** What a tab has, told without opening it. */
function Mark({ tab, row }: { tab: Tab; row: Run }) {
  const reports = row.artifacts.filter((each) => each.kind === "report").length;
  const failed = row.steps.reduce((sum, each) => sum + (each.items_failed ?? 0), 0);
  if (tab === "error" && row.error)
    return (
      <span className="tab-mark">
        <State bare status="failed" />
      </span>
    );
  if (tab === "error" && failed > 0) return <span className="state-failed tab-mark">{failed}</span>;
  const many = tab === "report" ? reports : tab === "data" ? row.artifacts.length - reports : 0;
  return many > 0 ? <span className="quiet tab-mark">{many}</span> : null;
}
