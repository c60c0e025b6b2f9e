import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Run } from "../../api/client";
import { flows } from "../../api/queries";
import { State } from "../../parts/State";
import { Ago, Took } from "../../parts/Times";
import { exact } from "../../parts/words";
import { attempts, type Step } from "./queries";

interface DetailsTabProps {
  workspace: string;
  run: Run & { folder?: string };
  step: Step | undefined;
}

/** Everything else that is on record of a run, or of its chosen step. */
export function DetailsTab({ workspace, run, step }: DetailsTabProps) {
  const file = useQuery(flows(workspace)).data?.flows.find((each) => each.name === run.flow)?.file;
  const at = `/w/${workspace}`;
  return (
    <div className="run-tab">
      {step && <Attempts workspace={workspace} run={run} step={step} />}
      <Facts
        title="Parameters"
        none="This run was given none."
        facts={Object.entries(run.params).map(([name, value]) => [name, told(value)])}
      />
      <Facts
        title="Metadata"
        none='Nothing was noted. A step notes something with: context.metadata["rows"] = 3'
        facts={Object.entries(run.metadata).filter(([name]) => !TOLD_BELOW.includes(name)).map(([name, value]) => [name, told(value)])}
      />
      <Facts
        title="Run"
        none=""
        facts={[
          ["id", <span className="mono">{run.id}</span>],
          ["flow", <Link to={`${at}/flows/${run.flow}`}>{run.flow}</Link>],
          ["file", file && <Link className="mono" to={`${at}/editor?${new URLSearchParams({ path: file })}`}>{file}</Link>],
          ["version", <Link className="mono" to={`${at}/flows/${run.flow}?${new URLSearchParams({ tab: "versions", version: run.version })}`}>{run.version.slice(0, 12)}</Link>],
          ["started by", run.trigger],
          ["retry of", run.retry_of && <Link className="mono" to={`${at}/runs/${run.retry_of}`}>{run.retry_of}</Link>],
          ["source", run.source_path && <span className="mono">{run.source_path}</span>],
          ["key", run.key && <span className="mono">{run.key}</span>],
          ["environment", run.environment && <span className="mono">{run.environment}</span>],
          ["queued", <Moment at={run.queued_at} />],
          ["started", run.started_at && <Moment at={run.started_at} />],
          ["ended", run.finished_at && <Moment at={run.finished_at} />],
          ["attempt", run.attempt],
          ["folder", run.folder && <span className="mono">{run.folder}</span>],
        ]}
      />
    </div>
  );
}

/** What every run notes of itself. */
const TOLD_BELOW = ["run_id", "started_at_utc", "step_outputs"];

function Moment({ at }: { at: string }) {
  return (
    <>
      {exact(at)} <span className="quiet">· <Ago at={at} /></span>
    </>
  );
}

function told(value: unknown): ReactNode {
  return <span className="mono">{typeof value === "string" ? value : JSON.stringify(value)}</span>;
}

function Facts({ title, facts, none }: { title: string; facts: [string, ReactNode][]; none: string }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return (
    <section aria-label={title}>
      <h2 className="facts-title">{title}</h2>
      {known.length === 0 ? (
        <p className="quiet">{none}</p>
      ) : (
        <dl className="facts">
          {known.map(([name, value]) => (
            <div key={name}>
              <dt className="quiet">{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      )}
    </section>
  );
}

/** Every attempt at a step. */
function Attempts({ workspace, run, step }: { workspace: string; run: Run; step: Step }) {
  const found = useQuery(attempts(workspace, run, `${step.attempt} ${step.status}`));
  const tries = found.data?.steps[step.index]?.attempts ?? [];
  return (
    <section aria-label={`Attempts at ${step.label}`}>
      <h2 className="facts-title">{step.label}</h2>
      {tries.length === 0 ? (
        <p className="quiet">It has not begun.</p>
      ) : (
        <table className="rows">
          <thead>
            <tr>
              <th>Attempt</th>
              <th>State</th>
              <th>Started</th>
              <th className="right">Took</th>
              <th>Output</th>
              <th>Error</th>
            </tr>
          </thead>
          <tbody>
            {tries.map((each) => (
              <tr key={each.attempt}>
                <td className="mono">{each.attempt}</td>
                <td>
                  <State status={each.status} />
                </td>
                <td>
                  <Ago at={each.started_at} />
                </td>
                <td className="right mono">
                  <Took from={each.started_at} to={each.finished_at} />
                </td>
                <td>
                  {each.output_kind}
                  {each.rows !== null && <span className="quiet"> · {each.rows.toLocaleString()}</span>}
                  {each.checkpoint && <span className="quiet"> · kept</span>}
                </td>
                <td title={each.error?.message}>{each.error?.message}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
