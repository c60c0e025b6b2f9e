import { Button, Loader, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "react-router";
import type { Flow, Run } from "../api/client";
import { flows, runs, useStart } from "../api/queries";
import { Bars } from "../parts/Bars";
import { State } from "../parts/State";
import { Ago, Took } from "../parts/Times";
import { Empty, Trouble } from "../parts/Trouble";

/** What there is to run, what ran last, and what needs somebody. */
export default function Home() {
  const { workspace = "" } = useParams();
  const found = useQuery(flows(workspace));
  const recent = useQuery(runs(workspace, {}));
  if (found.error) return <Trouble error={found.error} />;
  if (!found.data) return <Loader size="sm" />;
  if (found.data.flows.length === 0)
    return <Empty command="flowstead init .">There is no flow in this workspace yet. A first one comes with:</Empty>;
  const groups = Map.groupBy(found.data.flows, (flow) => flow.group ?? "Not readable");
  const ran = Map.groupBy(recent.data?.runs ?? [], (run) => run.flow);
  return (
    <div style={{ display: "grid", gap: 16 }}>
      <Title order={1}>Flows</Title>
      {[...groups].map(([group, members]) => (
        <section className="panel" key={group} aria-label={group}>
          <h2>{group}</h2>
          <table className="rows">
            <tbody>
              {members.map((flow) => (
                <Line key={flow.name} flow={flow} workspace={workspace} ran={ran.get(flow.name) ?? []} />
              ))}
            </tbody>
          </table>
        </section>
      ))}
    </div>
  );
}

function Line({ flow, workspace, ran }: { flow: Flow; workspace: string; ran: Run[] }) {
  const navigate = useNavigate();
  const start = useStart(workspace);
  const last = ran[0];
  const trouble = start.error?.message ?? flow.error?.message;
  return (
    <tr>
      <td style={{ width: 24 }}>
        <State bare status={flow.status === "ok" ? (last?.status ?? "pending") : flow.status} />
      </td>
      <td style={{ width: 260 }}>
        <strong>{flow.label}</strong>
      </td>
      <td className={trouble ? "state-failed" : "quiet"} title={trouble}>
        {trouble ?? flow.description?.split("\n")[0]}
      </td>
      <td className="right" style={{ width: 150 }}>
        <Bars runs={ran.slice(0, 20)} workspace={workspace} />
      </td>
      <td className="quiet" style={{ width: 180 }}>
        {last && (
          <Link to={`runs/${last.id}`}>
            <Ago at={last.finished_at ?? last.started_at ?? last.queued_at} />
            {last.started_at && (
              <>
                {" · "}
                <Took from={last.started_at} to={last.finished_at} />
              </>
            )}
          </Link>
        )}
      </td>
      <td className="right" style={{ width: 80 }}>
        <Button
          size="compact-xs"
          variant="light"
          disabled={flow.status === "broken"}
          loading={start.isPending}
          aria-label={`Run ${flow.label}`}
          onClick={() =>
            start.mutate(flow.name, {
              onSuccess: (answer) => {
                const [first] = answer.started;
                if (first && answer.started.length === 1) navigate(`/w/${workspace}/runs/${first}`);
                else if (first) navigate(`/w/${workspace}/runs?flow=${flow.name}`);
              },
            })
          }
        >
          Run
        </Button>
        {start.data && start.data.started.length === 0 && (
          <Text size="xs" className="quiet">
            nothing is due
          </Text>
        )}
      </td>
    </tr>
  );
}
