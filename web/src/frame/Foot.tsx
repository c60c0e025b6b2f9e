import { useQuery } from "@tanstack/react-query";
import { type Standing, useStanding } from "../api/live";
import { health, overview } from "../api/queries";
import { Ago } from "../parts/Times";
import { count } from "../parts/words";

const WORDS: Record<Standing, string> = { connecting: "connecting", live: "live", away: "away", "signed-out": "signed out" };

/** Whether what is shown is live, and how much there is. */
export function Foot({ workspace }: { workspace: string }) {
  const live = useStanding(workspace);
  const counts = useQuery(overview(workspace)).data?.counts;
  const daemon = useQuery(health).data;
  return (
    <footer className="foot">
      <span className={live === "live" ? "state-succeeded" : "state-waiting"}>● {WORDS[live]}</span>
      {counts && (
        <span>
          {count(counts.modules, "module")} · {count(counts.groups, "group")} · {count(counts.flows, "flow")} ·{" "}
          {count(counts.runs, "run")} in {count(counts.days, "day")}
        </span>
      )}
      <span className="grow" />
      {daemon && (
        <span>
          v{daemon.version} · started <Ago at={daemon.started_at} />
        </span>
      )}
    </footer>
  );
}
