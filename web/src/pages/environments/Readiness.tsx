import { State } from "../../parts/State";
import type { Environment } from "./queries";

const AS = { queued: "queued", building: "running", ready: "succeeded", failed: "failed", cold: "pending" } as const;

/** Whether an environment can be used: how far its build is, or that it is. */
export function Readiness({ environment: { state, progress, in_use } }: { environment: Environment }) {
  const part = progress?.total ? ` ${progress.done ?? 0}/${progress.total}` : "";
  return (
    <span title={progress?.message}>
      <State status={AS[state]} word={progress ? `${progress.phase}${part}` : state} />
      {in_use.length > 0 && <span className="quiet"> in use</span>}
    </span>
  );
}
