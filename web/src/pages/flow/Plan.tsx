import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Shape } from "../../api/client";
import { run as runQuery } from "../../api/queries";
import { useAddress } from "../../parts/address";
import { Empty } from "../../parts/Trouble";
import { Graph } from "./Graph";
import { durations, lastRuns } from "./queries";
import { StepDetails } from "./StepDetails";

/** The plan as a graph, with how long its steps take and what became of them last; the chosen step beside it. */
export function Plan({ workspace, flow }: { workspace: string; flow: Shape["FlowDetails"] }) {
  const { address, put } = useAddress();
  const measured = useQuery(durations(workspace, flow.name)).data;
  const last = useQuery(lastRuns(workspace, flow.name)).data?.runs[0]?.id ?? "";
  // While the next one is asked for, the one before it is still shown.
  const run = useQuery({ ...runQuery(workspace, last), enabled: last !== "", placeholderData: keepPreviousData }).data ?? null;
  const took = useMemo(() => new Map(measured?.steps.map((step) => [step.name, step.took])), [measured]);
  const steps = flow.plan?.steps ?? [];
  const chosen = steps.find((step) => step.name === address.get("step")) ?? steps[0];
  if (!chosen)
    return (
      <section className="panel">
        <Empty>This flow has no steps yet. Give it a first one: Flow(…).step(function).</Empty>
      </section>
    );
  const choose = (step: string) => put({ step });
  return (
    <div className="plan">
      <section className="panel" aria-label="Plan">
        <Graph steps={steps} took={took} run={run} chosen={chosen.name} onChoose={choose} />
      </section>
      <StepDetails workspace={workspace} flow={flow} step={chosen} took={took.get(chosen.name) ?? null} run={run} />
    </div>
  );
}
