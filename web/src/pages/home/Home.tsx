import { Button, Loader, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "react-router";
import type { FlowOverview, Overview } from "../../api/client";
import { overview, useAction, useStart, workspaces } from "../../api/queries";
import { Bars } from "../../parts/Bars";
import { State } from "../../parts/State";
import { Ago, Due, Took } from "../../parts/Times";
import { Empty, Trouble } from "../../parts/Trouble";
import { trigger } from "../../parts/triggers";

/** What there is to run, what ran last, what runs now, and what needs somebody. */
export default function Home() {
  const { workspace = "" } = useParams();
  const found = useQuery(overview(workspace));
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return <Loader size="sm" />;
  if (found.data.flows.length === 0)
    return <Empty command="flowstead init .">There is no flow in this workspace yet. A first one comes with:</Empty>;
  // Those that nobody can read come last; their trouble stands above.
  const groups = [...Map.groupBy(found.data.flows, (flow) => flow.group ?? "")].sort(
    ([one], [other]) => Number(one === "") - Number(other === "") || one.localeCompare(other),
  );
  return (
    <div style={{ display: "grid", gap: 16 }}>
      <Title order={1}>Home</Title>
      {found.data.needs_you.length > 0 && <NeedsYou workspace={workspace} overview={found.data} />}
      {groups.map(([group, members]) => (
        <section className="panel" key={group} aria-label={group || "Not readable"}>
          <h2>{group || "Not readable"}</h2>
          <table className="rows flows">
            <tbody>
              {members.map((flow) => (
                <Line key={flow.name} flow={flow} workspace={workspace} />
              ))}
            </tbody>
          </table>
        </section>
      ))}
    </div>
  );
}

const SAID = { broken: "cannot be read", failed: "failed", interrupted: "was interrupted" } as const;

function NeedsYou({ workspace, overview: { needs_you, needs_total } }: { workspace: string; overview: Overview }) {
  return (
    <section className="panel" aria-label="Needs you">
      <h2>Needs you ({needs_total})</h2>
      <table className="rows">
        <tbody>
          {needs_you.map((need) => (
            <tr key={`${need.kind} ${need.run ?? need.flow}`}>
              <td style={{ width: 24 }}>
                <State bare status={need.kind} />
              </td>
              <td style={{ width: 260 }}>
                {need.run ? (
                  <Link to={`/w/${workspace}/runs/${need.run}`}>
                    {need.label} {SAID[need.kind]}
                  </Link>
                ) : (
                  `${need.label} ${SAID[need.kind]}`
                )}
              </td>
              <td className="quiet" title={need.error?.hint}>
                {need.error && (
                  <>
                    {need.error.file && (
                      <span className="mono">
                        {need.error.file}
                        {need.error.line ? `:${need.error.line}` : ""}{" "}
                      </span>
                    )}
                    {need.error.message}
                  </>
                )}
              </td>
              <td className="quiet right" style={{ width: 120 }}>
                <Ago at={need.at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Line({ flow, workspace }: { flow: FlowOverview; workspace: string }) {
  const root = useQuery(workspaces).data?.workspaces.find((each) => each.workspace === workspace)?.path ?? "";
  const trouble = flow.error?.message ?? flow.condition;
  const status = flow.running[0]?.status ?? flow.last?.status ?? "pending";
  return (
    <tr>
      <td style={{ width: 24 }}>
        <State bare status={flow.status === "ok" ? status : flow.status} />
      </td>
      <td style={{ width: 220 }} title={flow.description ?? undefined}>
        <strong>{flow.label}</strong>
      </td>
      <td className={flow.status === "broken" ? "state-failed" : "quiet"} title={flow.error?.hint ?? trouble ?? undefined}>
        {trouble ?? trigger(flow.trigger, root)}
        {flow.next_due && (
          <>
            {" · next "}
            <Due at={flow.next_due} />
          </>
        )}
        {flow.queued > 0 && ` · ${flow.queued.toLocaleString()} waiting`}
      </td>
      <td className="right" style={{ width: 150 }}>
        <Bars runs={flow.runs} workspace={workspace} />
      </td>
      <td className="quiet" style={{ width: 210 }}>
        <Now flow={flow} workspace={workspace} />
      </td>
      <td className="right" style={{ width: 84 }}>
        <Start flow={flow} workspace={workspace} />
      </td>
    </tr>
  );
}

/** What runs now, with how far it is; else how the last run ended. */
function Now({ flow, workspace }: { flow: FlowOverview; workspace: string }) {
  const [run] = flow.running;
  if (run) {
    const { step } = run;
    const items = step?.items_total ? ` ${step.items_done ?? 0}/${step.items_total}` : "";
    return (
      <Link to={`/w/${workspace}/runs/${run.id}`} className="state-running">
        {step ? `${step.label}${items}` : run.status} · <Took from={run.started_at} to={null} />
        {flow.running.length > 1 && ` · and ${flow.running.length - 1} more`}
      </Link>
    );
  }
  if (!flow.last) return null;
  return (
    <Link to={`/w/${workspace}/runs/${flow.last.id}`}>
      <Ago at={flow.last.finished_at ?? flow.last.started_at ?? flow.last.queued_at} />
      {flow.last.started_at && (
        <>
          {" · "}
          <Took from={flow.last.started_at} to={flow.last.finished_at} />
        </>
      )}
    </Link>
  );
}

function Start({ flow, workspace }: { flow: FlowOverview; workspace: string }) {
  const navigate = useNavigate();
  const start = useStart(workspace);
  const act = useAction(workspace);
  const [run] = flow.running;
  if (run?.actions.includes("cancel"))
    return (
      <Button
        size="compact-xs"
        variant="default"
        loading={act.isPending}
        aria-label={`Stop ${flow.label}`}
        onClick={() => act.mutate({ run_id: run.id, action: "cancel" })}
      >
        Stop
      </Button>
    );
  const failed = start.error?.message;
  const nothing = start.data?.started.length === 0;
  return (
    <>
      <Button
        size="compact-xs"
        variant="light"
        disabled={flow.status === "broken"}
        loading={start.isPending}
        aria-label={`Run ${flow.label}`}
        title={failed ?? (nothing ? "Nothing is due" : undefined)}
        color={failed ? "red" : undefined}
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
      <Text size="xs" className={failed ? "state-failed" : "quiet"} role="status">
        {failed ?? (nothing && "nothing is due")}
      </Text>
    </>
  );
}
