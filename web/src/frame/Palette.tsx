import { Combobox, Loader, Modal, Text, TextInput, useCombobox } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { useMatch, useNavigate } from "react-router";
import { engine, type OwnershipAction, foundRuns, overview, run, standing, useAction, useEngine, useOwnership, useRefusal, useStart, whatIsDue, workspaces } from "../api/queries";
import { State } from "../parts/State";
import { Trouble } from "../parts/Trouble";
import { said, shortId } from "../parts/words";
import { useDensity, useScheme } from "./look";
import { addressOf, PAGES } from "./pages";

interface Entry {
  id: string;
  title: string;
  detail?: string;
  glyph?: ReactNode;
  /** Does it: the palette stays until it is done, and says what went wrong. */
  act: () => unknown;
}

const MOST = 8;

/** Finds a flow, a run, a page or something to do, and does it. */
export default function Palette({ workspace, onClose }: { workspace: string; onClose: () => void }) {
  const [text, setText] = useState("");
  const combobox = useCombobox({ opened: true });
  const groups = useEntries(workspace, text);
  const all = groups.flatMap(([, entries]) => entries);
  const names = all.map((entry) => entry.id).join(" ");
  // The first one is chosen anew whenever what is found changes; the store itself is another object at each drawing.
  useEffect(() => {
    combobox.selectFirstOption();
  }, [names]);
  const done = useMutation({ mutationFn: async (entry: Entry) => entry.act(), onSuccess: onClose });
  const choose = (id: string) => {
    const entry = all.find((each) => each.id === id);
    if (entry && !done.isPending) done.mutate(entry);
  };
  return (
    <Modal opened onClose={onClose} withCloseButton={false} padding={0} size="lg" yOffset="12vh" title="Find or run" styles={{ header: { display: "none" } }} transitionProps={{ duration: 80 }}>
      <Combobox store={combobox} onOptionSubmit={choose} withinPortal={false}>
        <Combobox.EventsTarget>
          <TextInput
            variant="unstyled"
            className="palette-text"
            placeholder="Find a flow or a run, or do something…"
            aria-label="Find a flow or a run, or do something"
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            // The list of options keeps Escape to itself.
            onKeyDown={(event) => event.key === "Escape" && onClose()}
            rightSection={done.isPending && <Loader size="xs" />}
            data-autofocus
          />
        </Combobox.EventsTarget>
        {done.error && <Trouble error={done.error} />}
        <Combobox.Options className="palette" aria-label="Found" tabIndex={0}>
          {groups.map(([title, entries]) => (
            <Combobox.Group key={title} label={title}>
              {entries.map(({ id, title, detail, glyph }) => (
                <Combobox.Option key={id} value={id}>
                  {glyph} <span>{title}</span> <span className="quiet detail">{detail}</span>
                </Combobox.Option>
              ))}
            </Combobox.Group>
          ))}
          {all.length === 0 && (
            <Text size="sm" className="quiet" p="md">
              Nothing is called that. Flows are found by name or label, runs by their id, source file or summary.
            </Text>
          )}
        </Combobox.Options>
      </Combobox>
    </Modal>
  );
}

/** What fits, by kind: all words have to occur. */
function useEntries(workspace: string, text: string): [string, Entry[]][] {
  const navigate = useNavigate();
  const start = useStart(workspace);
  const go = (path: string) => () => void navigate(addressOf(workspace, path));
  const [asked] = useDebouncedValue(text.trim(), 150);
  const runs = useQuery({ ...foundRuns(workspace, asked), placeholderData: keepPreviousData }).data?.runs ?? [];
  const known = useQuery(overview(workspace)).data?.flows ?? [];
  const others = useQuery(workspaces).data?.workspaces.filter((each) => each.workspace !== workspace) ?? [];
  const refusal = useRefusal(workspace);
  const actions = useActions(workspace, refusal);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = ({ title, detail = "" }: Entry) => words.every((word) => `${title} ${detail}`.toLowerCase().includes(word));

  const ofFlows = known.map((flow): Entry => {
    const status = flow.status === "ok" ? (flow.running[0]?.status ?? flow.last?.status ?? "pending") : flow.status;
    return { id: `flow ${flow.name}`, title: flow.label, detail: flow.name, glyph: <State bare status={status} />, act: go(`flows/${flow.name}`) };
  });
  const toRun = known
    .filter((flow) => flow.status === "ok" && refusal === null)
    .map((flow): Entry => ({
      id: `run ${flow.name}`,
      title: `Run ${flow.label}`,
      detail: flow.params ? "asks for its parameters" : flow.name,
      act: async () => {
        if (flow.params) return go(`flows/${flow.name}?run`)();
        const { started } = await start.mutateAsync({ name: flow.name, body: whatIsDue(flow.trigger?.source) });
        go(started.length === 1 ? `runs/${started[0]}` : started.length > 1 ? `runs?flow=${flow.name}` : `flows/${flow.name}`)();
      },
    }));
  const labels = new Map(known.map((flow) => [flow.name, flow.label]));
  const ofRuns = runs.map((row): Entry => ({
    id: row.id,
    title: labels.get(row.flow) ?? row.flow,
    detail: [shortId(row.id), row.source_path, row.summary ?? (row.error && said(row.error))].filter(Boolean).join(" · "),
    glyph: <State bare status={row.status} />,
    act: go(`runs/${row.id}`),
  }));
  const groups: [string, Entry[]][] = [
    ["Here", actions.here.filter(fits)],
    ["Flows", ofFlows.filter(fits)],
    ["Runs", words.length > 0 ? ofRuns : ofRuns.slice(0, 3)],
    ["Run", toRun.filter(fits)],
    ["Do", actions.everywhere.filter(fits)],
    ["Go to", PAGES.map((page): Entry => ({ id: `page ${page.path}`, title: page.name, detail: `g ${page.key}`, act: go(page.path) })).filter(fits)],
    ["Workspaces", others.map((each): Entry => ({ id: `workspace ${each.workspace}`, title: each.name, detail: each.path, act: () => void navigate(`/w/${each.workspace}`) })).filter(fits)],
  ];
  return groups.map(([title, entries]): [string, Entry[]] => [title, entries.slice(0, MOST)]).filter(([, entries]) => entries.length > 0);
}

const VERBS = { cancel: "Cancel this run", retry: "Retry this run", resume: "Resume this run" } as const;
const OWNERSHIP: Record<string, string> = { "request-control": "Request control", "withdraw-request": "Withdraw the request for control" };

/** What can be done with the run that is shown, and with the workspace. */
function useActions(workspace: string, refusal: string | null): { here: Entry[]; everywhere: Entry[] } {
  const navigate = useNavigate();
  const runId = useMatch("/w/:workspace/runs/:run")?.params.run ?? "";
  const shown = useQuery({ ...run(workspace, runId), enabled: runId !== "" }).data;
  const act = useAction(workspace);
  const automated = useQuery(engine(workspace)).data?.automated;
  const turn = useEngine(workspace);
  const owner = useQuery(standing(workspace)).data;
  const own = useOwnership(workspace);
  const { next, turn: turnScheme } = useScheme();
  const [density, setDensity] = useDensity();
  const other = density === "compact" ? "comfortable" : "compact";
  const here = (refusal === null ? (shown?.actions ?? []) : []).map((action): Entry => ({
    id: action,
    title: VERBS[action],
    detail: shown?.flow,
    act: async () => {
      const { started } = await act.mutateAsync({ run_id: runId, action });
      if (started?.[0]) void navigate(addressOf(workspace, `runs/${started[0]}`));
    },
  }));
  const engineTurn: Entry = { id: "engine", title: automated ? "Stop the engine" : "Start the engine", detail: automated ? "flows start only by hand then" : "flows start by themselves then", act: () => turn.mutateAsync(!automated) };
  const everywhere: Entry[] = [
    ...(automated || refusal === null ? [engineTurn] : []),
    ...(owner?.actions ?? [])
      .filter((action) => action in OWNERSHIP)
      .map((action): Entry => ({ id: action, title: OWNERSHIP[action] ?? action, detail: owner?.name, act: () => own.mutateAsync(action as OwnershipAction) })),
    { id: "scheme", title: `Colours: ${next}`, act: turnScheme },
    { id: "density", title: `Density: ${other}`, act: () => setDensity(other) },
  ];
  return { here, everywhere };
}
