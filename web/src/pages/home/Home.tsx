import { Loader, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { overview, useRefusal } from "../../api/queries";
import { Empty, Trouble } from "../../parts/Trouble";
import { FlowLine } from "./FlowLine";
import "./home.css";
import { NeedsYou } from "./NeedsYou";

/** What there is to run, what ran last, what runs now, and what needs somebody. */
export default function Home() {
  const { workspace = "" } = useParams();
  const found = useQuery(overview(workspace));
  const refusal = useRefusal(workspace);
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return <Loader size="sm" />;
  const { flows, needs_you, counts, automated } = found.data;
  if (flows.length === 0)
    return <Empty command="flowstead init .">There is no flow in this workspace yet. A first one comes with:</Empty>;
  // Those that nobody can read come last; their trouble stands above.
  const groups = [...Map.groupBy(flows, (flow) => flow.group ?? "")].sort(
    ([one], [other]) => Number(one === "") - Number(other === "") || one.localeCompare(other),
  );
  const isNew = flows.every((flow) => flow.runs.length === 0 && flow.queued === 0);
  return (
    <div className="home">
      <div className="home-head">
        <Title order={1}>Home</Title>
        <Busy active={counts.active} queued={counts.queued} />
      </div>
      {isNew && (
        <p className="quiet">
          Nothing ran here yet. Run a flow by hand
          {!automated && ", or start the engine: then what waits in its folder runs by itself"}.
        </p>
      )}
      {needs_you.length > 0 && <NeedsYou workspace={workspace} overview={found.data} />}
      {groups.map(([group, members]) => (
        <section className="panel" key={group} aria-label={group || "Not readable"}>
          <h2>{group || "Not readable"}</h2>
          <table className="rows flows">
            <tbody>
              {members.map((flow) => (
                <FlowLine key={flow.name} flow={flow} workspace={workspace} refusal={refusal} />
              ))}
            </tbody>
          </table>
        </section>
      ))}
    </div>
  );
}

function Busy({ active, queued }: { active: number; queued: number }) {
  if (active + queued === 0) return null;
  return (
    <span className="state-running" role="status">
      {active.toLocaleString()} running{queued > 0 && ` · ${queued.toLocaleString()} waiting`}
    </span>
  );
}
