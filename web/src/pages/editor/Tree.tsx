import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useState } from "react";
import { Link } from "react-router";
import { overview } from "../../api/queries";
import { State } from "../../parts/State";
import { useDrafts } from "./drafts";
import { NewFile } from "./NewFile";
import type { SourceFile } from "./queries";

const GROUPS = [
  { title: "Flows", kinds: ["flow", "notebook"], below: "flow_modules/" },
  { title: "Helpers", kinds: ["helper"], below: "flow_modules/flow_helpers/" },
  { title: "Configuration", kinds: ["config"], below: "config/" },
];

interface TreeProps {
  workspace: string;
  files: SourceFile[];
  chosen: string | null;
  actions: string[];
}

/** The files that people edit, with those that are broken or not saved marked. */
export function Tree({ workspace, files, chosen, actions }: TreeProps) {
  const [wanted, setWanted] = useState("");
  const [making, setMaking] = useState(false);
  const drafts = useDrafts(workspace);
  const flows = useQuery(overview(workspace)).data?.flows ?? [];
  const broken = new Map(flows.filter((each) => each.status === "broken").map((each) => [each.name, each.error?.message ?? ""]));
  const blamed = new Map(flows.flatMap((each) => (each.error?.file ? [[each.error.file, each.error.message] as const] : [])));
  const shown = files.filter((file) => file.path.toLowerCase().includes(wanted.toLowerCase()));
  return (
    <nav className="panel editor-tree" aria-label="Files" onKeyDown={move}>
      <div className="editor-tree-top">
        <TextInput
          size="xs"
          type="search"
          aria-label="Filter files"
          placeholder="Filter files"
          value={wanted}
          onChange={(event) => setWanted(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Escape" && setWanted("")}
        />
        {actions.includes("create") && (
          <Button size="compact-sm" variant="light" onClick={() => setMaking(true)}>
            New
          </Button>
        )}
      </div>
      <div className="editor-tree-files">
        {GROUPS.map(({ title, kinds, below }) => {
          const members = shown.filter((file) => kinds.includes(file.kind));
          if (members.length === 0) return null;
          return (
            <section key={title} aria-label={title}>
              <h2>{title}</h2>
              <ul>
                {members.map((file) => {
                  const trouble = (file.flow && broken.get(file.flow)) ?? blamed.get(file.path);
                  return (
                    <li key={file.path}>
                      <Link
                        to={`?path=${encodeURIComponent(file.path)}`}
                        aria-current={file.path === chosen ? "page" : undefined}
                        title={trouble || (file.linked ? "It lies elsewhere, and is only read here" : file.path)}
                      >
                        <span className="name">{file.path.slice(below.length)}</span>
                        {file.linked && <span className="quiet" role="img" aria-label="lies elsewhere">↗</span>}
                        {drafts.has(file.path) && <span className="editor-unsaved" role="img" aria-label="not saved">●</span>}
                        {trouble !== undefined && trouble !== null && <State bare status="broken" />}
                      </Link>
                    </li>
                  );
                })}
              </ul>
            </section>
          );
        })}
        {shown.length === 0 && wanted && <p className="quiet" style={{ padding: "0 8px" }}>No file is called so.</p>}
      </div>
      <NewFile workspace={workspace} opened={making} onClose={() => setMaking(false)} />
    </nav>
  );
}

/** Arrow keys go from file to file. */
function move(event: KeyboardEvent<HTMLElement>): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (step === 0 || (event.target as HTMLElement).closest("[role=dialog]")) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>("li a")];
  const next = links[links.indexOf(document.activeElement as HTMLElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
