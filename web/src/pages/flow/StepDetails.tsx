import { Link } from "react-router";
import type { Run, Shape } from "../../api/client";
import { CodeView } from "../../parts/code/CodeView";
import { State } from "../../parts/State";
import { Took } from "../../parts/Times";
import { span } from "../../parts/triggers";
import { duration, said } from "../../parts/words";
import { KINDS } from "./Graph";
import type { Planned } from "./layout";

interface StepDetailsProps {
  workspace: string;
  flow: Shape["FlowDetails"];
  step: Planned;
  took: Shape["Spread"] | null;
  run: Run | null;
}

const ON_ERROR: Record<string, string> = {
  raise: "a failed item fails the step",
  collect: "failed items go on as results with their error",
  skip: "failed items are left out",
};

/** All that is known of one step, and its line in the source. */
export function StepDetails({ workspace, flow, step, took, run }: StepDetailsProps) {
  const now = run?.steps.find((each) => each.index === step.index && each.name === step.name);
  const line = lineOf(step, flow);
  const facts: [string, React.ReactNode][] = [
    ["Kind", KINDS[step.kind]?.[1] ?? step.kind],
    ["Begins with", step.use && step.use !== "current" ? <code className="mono">{step.use}</code> : step.index === 0 ? "nothing: it is the first" : step.kind === "collect" ? "nothing: it looks for files" : "the value of the step before"],
  ];
  if (step.save_as) facts.push(["Saves its value as", <code className="mono">{step.save_as}</code>]);
  if (step.kind === "collect") facts.push(["Collects", `${step.extensions.join(", ") || "all files"}${step.recursive ? ", in subfolders too" : ""}`]);
  if (step.kind === "map") facts.push(["Items", `${step.workers > 1 ? `${step.workers} at once` : "one after the other"}; ${ON_ERROR[step.on_error] ?? step.on_error}`]);
  if (step.retries > 0) facts.push(["Retries", `up to ${step.retries}, ${step.retry_delay} s apart at first`]);
  if (step.timeout) facts.push(["Stopped after", span(step.timeout)]);
  if (step.checkpoint !== "auto") facts.push(["Its output", step.checkpoint ? "is always kept for resuming" : "is never kept for resuming"]);
  facts.push([
    "Takes",
    took ? (
      <>
        <span className="mono">{duration(took.median_ms)}</span>
        <span className="quiet">
          {took.count === 1
            ? " in the one run that succeeded"
            : ` at the median of ${took.count} runs, ${duration(took.p10_ms)} to ${duration(took.p90_ms)} mostly, ${duration(took.longest_ms)} at most`}
        </span>
      </>
    ) : (
      <span className="quiet">known once a run has succeeded</span>
    ),
  ]);
  if (run && now)
    facts.push([
      run.finished_at ? "In the last run" : "In this run",
      <span className="line-up">
        <State status={now.status} />
        {now.started_at && (
          <span className="mono">
            <Took from={now.started_at} to={now.finished_at} />
          </span>
        )}
        {now.items_total != null && (
          <span>
            {(now.items_done ?? 0).toLocaleString()} of {now.items_total.toLocaleString()} items
            {now.items_failed ? `, ${now.items_failed.toLocaleString()} failed` : ""}
          </span>
        )}
        <Link to={`/w/${workspace}/runs/${run.id}?tab=logs&step=${encodeURIComponent(step.name)}`}>its log</Link>
      </span>,
    ]);
  if (now?.error) facts.push(["Error", <span className="state-failed">{said(now.error)}</span>]);
  return (
    <section className="panel step-details" aria-label={`Step ${step.label}`}>
      <h2>{step.label}</h2>
      <dl className="facts-list">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {flow.text && line && (
        <div className="excerpt">
          <div className="excerpt-head">
            <span className="mono quiet">
              {flow.file}:{line}
            </span>
            <Link to={`/w/${workspace}/editor?path=${encodeURIComponent(flow.file)}&line=${line}`}>Open in the editor</Link>
          </div>
          <CodeView text={flow.text} language="python" label={`Source of ${step.label}`} marked={line} maxHeight="300px" />
        </div>
      )}
    </section>
  );
}

/** Where a step stands in its module: its function, or for one that collects files the call that says so. */
function lineOf(step: Planned, flow: Shape["FlowDetails"]): number | null {
  if (flow.file.endsWith(".ipynb")) return null;
  if (step.line || step.kind !== "collect" || !flow.text || !flow.plan) return step.line;
  const before = flow.plan.steps.filter((each) => each.kind === "collect" && each.index < step.index).length;
  const call = [...flow.text.matchAll(/\.collect\(/g)][before];
  return call ? flow.text.slice(0, call.index).split("\n").length : null;
}
