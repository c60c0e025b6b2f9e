import { ActionIcon, Button, Select, Text, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { NavLink, Outlet, useNavigate, useParams } from "react-router";
import { api, take } from "../api/client";
import { useStanding } from "../api/live";
import { engine, health, overview, standing, useLive, workspaces } from "../api/queries";
import icon from "../icon.svg";
import { Ago } from "../parts/Times";
import { count } from "../parts/words";

const PAGES = [
  ["", "Home", "⌂"],
  ["runs", "Runs", "≡"],
  ["data", "Data", "▦"],
  ["editor", "Editor", "✎"],
  ["environments", "Environments", "◫"],
  ["activity", "Activity", "∿"],
  ["settings", "Settings", "⚙"],
  ["docs", "Docs", "?"],
] as const;

/** What surrounds every page: where you are, who owns it, and whether all of it is live. */
export function Frame() {
  const { workspace = "" } = useParams();
  useLive(workspace);
  const live = useStanding(workspace);
  return (
    <div className="frame">
      <nav className="nav" aria-label="Pages">
        <div className="brand">
          <img src={icon} alt="" /> Flowstead
        </div>
        {PAGES.map(([path, name, glyph]) => (
          <NavLink key={path} to={`/w/${workspace}${path && `/${path}`}`} end={path === ""}>
            <span aria-hidden>{glyph}</span> {name}
          </NavLink>
        ))}
      </nav>
      <Top workspace={workspace} />
      <main className="page">
        {live === "away" && (
          <div className="away" role="status">
            The daemon is away. What you see is as it was; it comes back by itself.
          </div>
        )}
        <Outlet />
      </main>
      <Foot workspace={workspace} />
    </div>
  );
}

function Top({ workspace }: { workspace: string }) {
  const known = useQuery(workspaces);
  const navigate = useNavigate();
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  return (
    <header className="top">
      <Select
        aria-label="Workspace"
        size="xs"
        w={220}
        value={workspace}
        data={(known.data?.workspaces ?? []).map((each) => ({ value: each.workspace, label: each.name }))}
        onChange={(key) => key && navigate(`/w/${key}`)}
        allowDeselect={false}
      />
      <Owner workspace={workspace} />
      <span className="grow" />
      <Engine workspace={workspace} />
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={dark ? "Light" : "Dark"}
        onClick={() => setColorScheme(dark ? "light" : "dark")}
      >
        {dark ? "☀" : "☾"}
      </ActionIcon>
    </header>
  );
}

/** Who owns the workspace, and what can be done about it: just what `actions` says. */
function Owner({ workspace }: { workspace: string }) {
  const found = useQuery(standing(workspace));
  const client = useQueryClient();
  const ask = useMutation({
    mutationFn: () =>
      take(api.POST("/api/v1/workspaces/{workspace}/request-control", { params: { path: { workspace } } })),
    onSettled: () => client.invalidateQueries({ queryKey: [workspace, "standing"] }),
  });
  if (!found.data) return null;
  const mine = found.data.state === "mine";
  return (
    <>
      <Text size="sm" className={mine ? "" : "quiet"} title={found.data.message} truncate>
        {found.data.message}
      </Text>
      {found.data.actions.includes("request-control") && (
        <Button size="compact-xs" variant="default" loading={ask.isPending} onClick={() => ask.mutate()}>
          Request control
        </Button>
      )}
    </>
  );
}

function Engine({ workspace }: { workspace: string }) {
  const found = useQuery(engine(workspace));
  const client = useQueryClient();
  const on = found.data?.automated ?? false;
  const turn = useMutation({
    mutationFn: () => {
      const path = on
        ? ("/api/v1/workspaces/{workspace}/engine/stop" as const)
        : ("/api/v1/workspaces/{workspace}/engine/start" as const);
      return take(api.POST(path, { params: { path: { workspace } } }));
    },
    onSettled: () => client.invalidateQueries({ queryKey: [workspace] }),
  });
  return (
    <Button
      size="compact-sm"
      variant={on ? "light" : "default"}
      disabled={!found.data}
      loading={turn.isPending}
      title={turn.error?.message ?? (on ? "Flows start by themselves" : "Flows start only by hand")}
      onClick={() => turn.mutate()}
    >
      {on ? "Engine on" : "Engine off"}
    </Button>
  );
}

function Foot({ workspace }: { workspace: string }) {
  const live = useStanding(workspace);
  const counts = useQuery(overview(workspace)).data?.counts;
  const version = useQuery(health).data;
  return (
    <footer className="foot">
      <span className={live === "live" ? "state-succeeded" : "state-waiting"}>● {live}</span>
      {counts && (
        <span>
          {count(counts.modules, "module")} · {count(counts.groups, "group")} · {count(counts.flows, "flow")} ·{" "}
          {count(counts.runs, "run")} in {count(counts.days, "day")}
        </span>
      )}
      <span className="grow" />
      {version && (
        <span>
          v{version.version} · started <Ago at={version.started_at} />
        </span>
      )}
    </footer>
  );
}
