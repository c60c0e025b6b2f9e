import { Menu } from "@mantine/core";
import { IconCheck } from "../parts/icons";
import { useQueries } from "@tanstack/react-query";
import type { Shape, Workspace } from "../api/client";
import { standing } from "../api/queries";
import { inShort } from "./Ownership";

interface Props {
  known: Workspace[];
  workspace: string;
  onChoose: (workspace: string) => void;
}

/** Each workspace of this machine with who owns it, how fresh that is, and what runs in it. */
export default function Workspaces({ known, workspace, onChoose }: Props) {
  const standings = useQueries({
    queries: known.map((each) => ({ ...standing(each.workspace), enabled: each.open, refetchInterval: false as const })),
  });
  return (
    <>
      {known.map((each, index) => (
        <Menu.Item
          key={each.workspace}
          onClick={() => onChoose(each.workspace)}
          title={each.path}
          leftSection={<IconCheck size={14} aria-hidden style={{ visibility: each.workspace === workspace ? "visible" : "hidden" }} />}
          aria-current={each.workspace === workspace || undefined}
        >
          <div className="known">
            <span>{each.name}</span>
            <span className="quiet">{about(each, standings[index]?.data)}</span>
            <span className="quiet mono path">{each.path}</span>
          </div>
        </Menu.Item>
      ))}
      <Menu.Divider />
      <Menu.Label>
        Another folder: <code>flowstead workspace add FOLDER</code>
      </Menu.Label>
    </>
  );
}

function about(each: Workspace, found: Shape["Standing"] | undefined): string {
  if (!each.open) return "not open";
  const words = found ? inShort(found) : each.state;
  const active = each.active ? ` · ${each.active} running` : "";
  return `${words}${each.automated ? " · engine on" : ""}${active}`;
}
