import { Group, Loader, Select, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams, useSearchParams } from "react-router";
import { flows } from "../../api/queries";
import { State } from "../../parts/State";
import { Ago, Took } from "../../parts/Times";
import { Empty, Trouble } from "../../parts/Trouble";
import { shortId } from "../../parts/words";
import { runs, useLiveRuns } from "./queries";

const STATUSES = ["queued", "running", "waiting", "succeeded", "failed", "cancelled", "interrupted", "rejected"];

/** What ran, newest first; the filters are in the address. */
export default function Runs() {
  const { workspace = "" } = useParams();
  useLiveRuns(workspace);
  const [address, setAddress] = useSearchParams();
  const flow = address.get("flow") ?? undefined;
  const status = address.get("status") ?? undefined;
  const found = useQuery(runs(workspace, { flow, status }));
  const names = useQuery(flows(workspace)).data?.flows.map((each) => each.name) ?? [];
  const choose = (name: string) => (value: string | null) =>
    setAddress((known) => {
      const next = new URLSearchParams(known);
      if (value) next.set(name, value);
      else next.delete(name);
      return next;
    });
  return (
    <div style={{ display: "grid", gap: 12 }}>
      <Group justify="space-between">
        <Title order={1}>Runs</Title>
        <Group gap="sm">
          <Select aria-label="Flow" size="xs" placeholder="All flows" data={names} value={flow ?? null} onChange={choose("flow")} clearable searchable />
          <Select aria-label="State" size="xs" placeholder="All states" data={STATUSES} value={status ?? null} onChange={choose("status")} clearable />
        </Group>
      </Group>
      {found.error && <Trouble error={found.error} />}
      {!found.data && !found.error && <Loader size="sm" />}
      {found.data && (
        <section className="panel">
          {found.data.runs.length === 0 ? (
            <Empty>Nothing ran that fits. Run a flow from Home.</Empty>
          ) : (
            <table className="rows">
              <thead>
                <tr>
                  <th>State</th>
                  <th>Flow</th>
                  <th>Source</th>
                  <th>Summary</th>
                  <th>When</th>
                  <th className="right">Took</th>
                  <th>Run</th>
                </tr>
              </thead>
              <tbody>
                {found.data.runs.map((run) => (
                  <tr key={run.id}>
                    <td>
                      <State status={run.status} />
                    </td>
                    <td>
                      <Link to={run.id}>{run.flow}</Link>
                    </td>
                    <td className="mono" title={run.source_path ?? undefined}>
                      {run.source_path}
                    </td>
                    <td title={run.summary ?? run.error?.message}>
                      {run.summary ?? run.error?.message ?? (run.waiting_for && `waiting for ${run.waiting_for}`)}
                    </td>
                    <td className="quiet">
                      <Ago at={run.finished_at ?? run.started_at ?? run.queued_at} />
                    </td>
                    <td className="right mono">
                      <Took from={run.started_at} to={run.finished_at} />
                    </td>
                    <td className="mono quiet">{shortId(run.id)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </section>
      )}
    </div>
  );
}
