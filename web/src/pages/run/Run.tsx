import { Button, Code, Group, Loader, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import type { Run } from "../../api/client";
import { run, useAction } from "../../api/queries";
import { Log } from "./Log";
import { State } from "../../parts/State";
import { Ago, Took } from "../../parts/Times";
import { Trouble } from "../../parts/Trouble";
import { shortId } from "../../parts/words";

const VERBS = { cancel: "Cancel", retry: "Retry", resume: "Resume" } as const;

/** One run: its steps in time, and its log beside them. */
export default function RunPage() {
  const { workspace = "", run: runId = "" } = useParams();
  const found = useQuery(run(workspace, runId));
  const [step, setStep] = useState<string | null>(null);
  if (found.error) return <Trouble error={found.error} />;
  if (!found.data) return <Loader size="sm" />;
  const row = found.data;
  return (
    <div style={{ display: "grid", gap: 12 }}>
      <Group justify="space-between" align="flex-start">
        <div>
          <Title order={1}>
            <State bare status={row.status} /> {row.flow}
          </Title>
          <Text size="sm" className="quiet">
            <State status={row.status} /> · {row.trigger} <Ago at={row.queued_at} />
            {row.started_at && (
              <>
                {" · took "}
                <Took from={row.started_at} to={row.finished_at} />
              </>
            )}
            {row.attempt > 1 && ` · attempt ${row.attempt}`} · <span className="mono">{shortId(row.id)}</span>
          </Text>
        </div>
        <Actions workspace={workspace} row={row} />
      </Group>
      {row.waiting_for && <Text>Waiting for {row.waiting_for}</Text>}
      {row.summary && <Text fw={500}>{row.summary}</Text>}
      {row.error && <Failure error={row.error} />}
      <div className="columns">
        <section className="panel" aria-label="Timeline">
          <h2>Timeline</h2>
          <Timeline row={row} step={step} onStep={setStep} />
        </section>
        <section className="panel" aria-label="Log">
          <h2>Log{step && ` of ${step}`}</h2>
          <Log workspace={workspace} runId={row.id} step={step} />
        </section>
      </div>
    </div>
  );
}

/** Exactly the buttons that the daemon says are possible. */
function Actions({ workspace, row }: { workspace: string; row: Run }) {
  const navigate = useNavigate();
  const act = useAction(workspace);
  return (
    <Group gap="sm">
      {act.error && (
        <Text size="sm" className="state-failed" role="alert">
          {act.error.message}
        </Text>
      )}
      {row.actions.map((action) => (
        <Button
          key={action}
          size="compact-sm"
          variant={action === "cancel" ? "default" : "light"}
          loading={act.isPending}
          onClick={() =>
            act.mutate(
              { run_id: row.id, action },
              {
                onSuccess: (answer) => {
                  const [started] = (answer as { started?: string[] }).started ?? [];
                  if (started) navigate(`/w/${workspace}/runs/${started}`);
                },
              },
            )
          }
        >
          {VERBS[action]}
        </Button>
      ))}
    </Group>
  );
}

function Failure({ error }: { error: NonNullable<Run["error"]> }) {
  return (
    <section className="panel" style={{ padding: 12 }} aria-label="Error">
      <Text className="state-failed" fw={600}>
        {error.step ? `In ${error.step}: ` : ""}
        {error.message}
      </Text>
      {error.file && (
        <Text className="mono">
          {error.file}
          {error.line ? `:${error.line}` : ""}
        </Text>
      )}
      {error.source && <Code block>{error.source}</Code>}
      {error.words && <Code block>{error.words}</Code>}
      {error.hint && <Text size="sm">{error.hint}</Text>}
      {error.traceback && (
        <details>
          <summary className="quiet">Traceback</summary>
          <Code block>{error.traceback}</Code>
        </details>
      )}
    </section>
  );
}

interface TimelineProps {
  row: Run;
  step: string | null;
  onStep: (step: string | null) => void;
}

/** Each step as a bar in time; choosing one filters the log. */
function Timeline({ row, step, onStep }: TimelineProps) {
  const begun = Date.parse(row.steps.find((each) => each.started_at)?.started_at ?? row.started_at ?? row.queued_at);
  const ends = row.steps.map((each) => Date.parse(each.finished_at ?? "") || 0);
  const under = row.finished_at === null;
  const end = Math.max(begun + 1, ...ends, under ? Date.now() : 0, Date.parse(row.finished_at ?? "") || 0);
  const part = (at: number) => `${(100 * (at - begun)) / (end - begun)}%`;
  return (
    <div className="gantt">
      {row.steps.map((each) => {
        const from = each.started_at ? Date.parse(each.started_at) : null;
        const to = each.finished_at ? Date.parse(each.finished_at) : end;
        const items = each.items_total != null ? ` ${each.items_done ?? 0}/${each.items_total}` : "";
        return [
          <button
            key={`${each.index} name`}
            type="button"
            aria-pressed={step === each.name}
            title={each.label}
            onClick={() => onStep(step === each.name ? null : each.name)}
          >
            <State bare status={each.status} /> {each.label}
            <span className="quiet">{items}</span>
          </button>,
          <div key={`${each.index} bar`} className="track">
            {from !== null && (
              <div className={`bar state-${each.status}`} style={{ left: part(from), width: `calc(${part(to)} - ${part(from)})` }} />
            )}
          </div>,
          <span key={`${each.index} took`} className="mono right">
            <Took from={each.started_at} to={each.finished_at} />
          </span>,
        ];
      })}
    </div>
  );
}
