import { Button, Checkbox, Group, Modal, Text, TextInput } from "@mantine/core";
import { useMutation, useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useNavigate, useParams } from "react-router";
import { api, type Run, take, type Workspace } from "../../api/client";
import { workspaces } from "../../api/queries";
import { State } from "../../parts/State";
import { Ago } from "../../parts/Times";
import { Trouble } from "../../parts/Trouble";
import { count } from "../../parts/words";
import { openRuns } from "./queries";

/** Stops everything at once: in this workspace, or on this machine. Each asks twice. */
export function KillSwitch() {
  const { workspace = "" } = useParams();
  const [asked, setAsked] = useState<"workspace" | "daemon" | null>(null);
  const known = useQuery(workspaces).data?.workspaces ?? [];
  const here = known.find((each) => each.workspace === workspace);
  return (
    <section className="panel kill" aria-label="Kill switch">
      <h2>
        Kill switch <span className="quiet">When something must stop now, whatever it is doing.</span>
      </h2>
      <div className="setting">
        <div>
          <strong>Stop this workspace</strong>
          <p className="quiet">
            Ends everything that runs in {here?.name ?? "it"} within seconds, by force where it must be, and closes it. The daemon and all other
            workspaces go on.
          </p>
        </div>
        <Button size="compact-sm" variant="outline" color="red" disabled={!here?.open} onClick={() => setAsked("workspace")}>
          Stop the workspace…
        </Button>
      </div>
      <div className="setting">
        <div>
          <strong>Stop the daemon</strong>
          <p className="quiet">Runs under way have a moment to end, then they are interrupted. Nothing starts by itself any more, and this page has nobody to ask.</p>
        </div>
        <Button size="compact-sm" variant="outline" color="red" onClick={() => setAsked("daemon")}>
          Stop the daemon…
        </Button>
      </div>
      {asked === "workspace" && here && <StopWorkspace workspace={here} onClose={() => setAsked(null)} />}
      {asked === "daemon" && <StopDaemon known={known.filter((each) => each.open)} onClose={() => setAsked(null)} />}
    </section>
  );
}

function StopWorkspace({ workspace: { workspace, name, path }, onClose }: { workspace: Workspace; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const client = useQueryClient();
  const navigate = useNavigate();
  const kill = useMutation({
    mutationFn: () => take(api.POST("/api/v1/workspaces/{workspace}/kill", { params: { path: { workspace } } })),
    onSettled: () => client.invalidateQueries({ queryKey: workspaces.queryKey }),
  });
  const open = useMutation({
    mutationFn: () => take(api.POST("/api/v1/workspaces", { body: { path } })),
    onSuccess: async () => {
      await client.invalidateQueries();
      navigate(`/w/${workspace}`);
    },
  });
  if (kill.data)
    return (
      <Modal opened onClose={onClose} title={`${name} is stopped`}>
        <div className="kill-dialog">
          <Text size="sm" role="status">
            {count(kill.data.workers, "worker")} ended.{" "}
            {kill.data.released ? "The workspace is closed here, and free." : "Its engine hangs: only stopping the daemon frees the workspace."}
          </Text>
          {open.error && <Trouble error={open.error} />}
          <Group justify="flex-end" gap="sm">
            <Button size="compact-sm" variant="default" onClick={onClose}>
              Close
            </Button>
            <Button size="compact-sm" loading={open.isPending} onClick={() => open.mutate()}>
              Open it again
            </Button>
          </Group>
        </div>
      </Modal>
    );
  return (
    <Modal opened onClose={onClose} title={`Stop everything in ${name}?`}>
      <div className="kill-dialog">
        <Loss workspaces={[{ workspace, name }]} />
        <TextInput size="xs" data-autofocus label={`Type ${name} to go on`} value={typed} onChange={(event) => setTyped(event.currentTarget.value)} />
        {kill.error && <Trouble error={kill.error} />}
        <Choice onClose={onClose}>
          <Button size="compact-sm" color="red" disabled={typed.trim() !== name} loading={kill.isPending} onClick={() => kill.mutate()}>
            Stop the workspace
          </Button>
        </Choice>
      </div>
    </Modal>
  );
}

function StopDaemon({ known, onClose }: { known: Workspace[]; onClose: () => void }) {
  const [sure, setSure] = useState(false);
  const stop = useMutation({ mutationFn: () => take(api.POST("/api/v1/daemon/stop")) });
  return (
    <Modal opened onClose={onClose} title="Stop the daemon?">
      <div className="kill-dialog">
        {stop.data ? (
          <Text size="sm" role="status">
            The daemon is ending. Start it again with <code>flowstead daemon start</code>; this page then goes on by itself.
          </Text>
        ) : (
          <>
            <Loss workspaces={known} />
            <Checkbox
              size="xs"
              checked={sure}
              onChange={(event) => setSure(event.currentTarget.checked)}
              label="Stop it for every workspace of this machine"
            />
            {stop.error && <Trouble error={stop.error} />}
            <Choice onClose={onClose}>
              <Button size="compact-sm" color="red" disabled={!sure} loading={stop.isPending} onClick={() => stop.mutate()}>
                Stop the daemon
              </Button>
            </Choice>
          </>
        )}
      </div>
    </Modal>
  );
}

function Choice({ onClose, children }: { onClose: () => void; children: ReactNode }) {
  return (
    <Group justify="flex-end" gap="sm">
      <Button size="compact-sm" variant="default" onClick={onClose}>
        Let it go on
      </Button>
      {children}
    </Group>
  );
}

/** What stopping costs: runs under way by name, and those that wait. */
function Loss({ workspaces: given }: { workspaces: Pick<Workspace, "workspace" | "name">[] }) {
  const found = useQueries({ queries: given.map((each) => openRuns(each.workspace)) });
  const error = found.find((each) => each.error)?.error;
  if (error) return <Trouble error={error} />;
  if (found.some((each) => !each.data)) return <Text size="sm" className="quiet">Looking what runs…</Text>;
  const active = found.flatMap((each, index) => each.data?.active.map((run) => ({ run, name: given[index]?.name ?? "" })) ?? []);
  const queued = found.reduce((sum, each) => sum + (each.data?.queued.length ?? 0), 0);
  const more = found.some((each) => each.data?.more);
  return (
    <>
      <Text size="sm">
        {active.length === 0 ? "Nothing is under way: nothing is lost." : `${count(active.length, "run")}${more ? " and more" : ""} would be interrupted:`}
      </Text>
      {active.length > 0 && (
        <ul className="kill-runs" aria-label="What would be interrupted">
          {active.map(({ run, name }) => (
            <li key={run.id}>
              <State bare status={run.status} />
              <strong>{run.flow}</strong>
              <span className="quiet">
                {given.length > 1 && `${name} · `}
                {stepOf(run)}since <Ago at={run.started_at ?? run.queued_at} />
              </span>
            </li>
          ))}
        </ul>
      )}
      {queued > 0 && <Text size="sm">{count(queued, "run")} in the queue {queued === 1 ? "stays" : "stay"} queued until it is opened again.</Text>}
    </>
  );
}

function stepOf(run: Run): string {
  const step = run.steps?.find((each) => each.status === "running");
  return step ? `in ${step.label}, ` : "";
}
