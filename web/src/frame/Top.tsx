import { ActionIcon, Button, Kbd, Menu, UnstyledButton } from "@mantine/core";
import { IconBaselineDensityMedium, IconBaselineDensitySmall, IconChevronDown, IconDeviceDesktop, IconMoon, IconPlayerStop, IconPlayerPlay, IconSearch, IconSun } from "../parts/icons";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { useNavigate } from "react-router";
import { engine, useEngine, useRefusal, workspaces } from "../api/queries";
import { openPalette } from "./Keys";
import { useDensity, useScheme } from "./look";
import { Ownership } from "./Ownership";

const Workspaces = lazy(() => import("./Workspaces"));

/** Where you are, who owns it, whether flows start by themselves, and how it all looks. */
export function Top({ workspace }: { workspace: string }) {
  const { scheme, next, turn } = useScheme();
  const [density, setDensity] = useDensity();
  const Scheme = { auto: IconDeviceDesktop, light: IconSun, dark: IconMoon }[scheme];
  const other = density === "compact" ? "comfortable" : "compact";
  const Density = density === "compact" ? IconBaselineDensitySmall : IconBaselineDensityMedium;
  return (
    <header className="top">
      <Selector workspace={workspace} />
      <Ownership workspace={workspace} />
      <span className="grow" />
      <UnstyledButton className="find" onClick={openPalette}>
        <IconSearch size={14} aria-hidden /> <span>Find or run…</span> <Kbd size="xs">{COMMAND} K</Kbd>
      </UnstyledButton>
      <Engine workspace={workspace} />
      <ActionIcon variant="subtle" color="gray" aria-label={`Density: ${density}. Make it ${other}`} title={`Make it ${other}`} onClick={() => setDensity(other)}>
        <Density size={16} aria-hidden />
      </ActionIcon>
      <ActionIcon variant="subtle" color="gray" aria-label={`Colours: ${scheme}. Make them ${next}`} title={`Colours: ${scheme}`} onClick={turn}>
        <Scheme size={16} aria-hidden />
      </ActionIcon>
    </header>
  );
}

const COMMAND = navigator.platform.startsWith("Mac") ? "⌘" : "Ctrl";

/** The workspaces of this machine. Each one's owner is asked for when the list is opened. */
function Selector({ workspace }: { workspace: string }) {
  const known = useQuery(workspaces).data?.workspaces ?? [];
  const navigate = useNavigate();
  const [opened, setOpened] = useState(false);
  return (
    <Menu opened={opened} onChange={setOpened} position="bottom-start" width={380} shadow="sm">
      <Menu.Target>
        <Button variant="subtle" color="gray" size="compact-sm" className="selector" rightSection={<IconChevronDown size={14} aria-hidden />} aria-label="Workspace">
          {known.find((each) => each.workspace === workspace)?.name ?? "…"}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Suspense>
          {opened && <Workspaces known={known} workspace={workspace} onChoose={(key) => navigate(`/w/${key}`)} />}
        </Suspense>
      </Menu.Dropdown>
    </Menu>
  );
}

function Engine({ workspace }: { workspace: string }) {
  const found = useQuery(engine(workspace));
  const turn = useEngine(workspace);
  const refusal = useRefusal(workspace);
  if (!found.data) return null;
  const on = found.data.automated;
  return (
    <Button
      size="compact-sm"
      variant={on ? "light" : "default"}
      leftSection={on ? <IconPlayerStop size={14} aria-hidden /> : <IconPlayerPlay size={14} aria-hidden />}
      disabled={!on && refusal !== null}
      loading={turn.isPending}
      color={turn.error ? "red" : undefined}
      title={(on ? null : refusal) ?? turn.error?.message ?? found.data.trouble ?? (on ? "Flows start by themselves" : "Flows start only by hand")}
      aria-pressed={on}
      onClick={() => turn.mutate(!on)}
    >
      {on ? "Engine on" : "Engine off"}
    </Button>
  );
}
