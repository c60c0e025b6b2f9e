import type { Environment } from "./queries";

const SHOWN = {
  queued: ["○", "queued"],
  building: ["●", "running"],
  ready: ["✓", "succeeded"],
  failed: ["✗", "failed"],
  cold: ["◌", "queued"],
} as const;

/** Whether an environment can be used: how far its build is, or that it is. */
export function Readiness({ environment: { state, progress, in_use } }: { environment: Environment }) {
  const [glyph, colour] = SHOWN[state];
  const part = progress?.total ? ` ${progress.done ?? 0}/${progress.total}` : "";
  return (
    <span className={`state state-${colour}`} title={progress?.message}>
      <span className="glyph" aria-hidden>
        {glyph}
      </span>
      {progress ? `${progress.phase}${part}` : state}
      {in_use.length > 0 && <span className="quiet">in use</span>}
    </span>
  );
}
