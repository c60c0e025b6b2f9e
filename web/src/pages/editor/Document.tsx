import { Button, Group, Text } from "@mantine/core";
import { useEffect, useMemo, useRef, useState } from "react";
import { Link } from "react-router";
import { CodeEditor, type EditorHandle } from "../../parts/code/CodeEditor";
import { languageOf } from "../../parts/code/language";
import { Ago } from "../../parts/Times";
import { Trouble } from "../../parts/Trouble";
import { Conflict, Kept } from "./Conflict";
import { Delete, Rename } from "./FileDialogs";
import { AUTHORING } from "./names";
import { Notebook, type NotebookHandle } from "./Notebook";
import { Problems } from "./Problems";
import type { Diagnostic } from "./queries";
import { Run } from "./Run";
import { type OpenFile, useOpenFile } from "./useOpenFile";

interface DocumentProps {
  workspace: string;
  path: string;
  line: number | null;
  linked: boolean;
  actions: string[];
}

/** One file, open: what is written in it, whether it is saved, and what is wrong with it. */
export function Document({ workspace, path, line, linked, actions }: DocumentProps) {
  const file = useOpenFile(workspace, path);
  const [editor, setEditor] = useState<EditorHandle | null>(null);
  const notebook = useRef<NotebookHandle>(null);
  const [dialog, setDialog] = useState<"conflict" | "rename" | "delete" | null>(null);
  const { onDisk, body, diagnostics } = file;
  const here = useMemo(() => diagnostics.filter((each) => each.file === path), [diagnostics, path]);
  const readOnly = linked || !actions.includes("write");

  useEffect(() => {
    if (line !== null) editor?.goTo(line);
  }, [editor, line]);

  if (!onDisk || !body) return file.read.error ? <Trouble error={file.read.error} /> : <section className="panel editor-document" />;
  const save = () => (file.conflict ? setDialog("conflict") : file.saveDraft());
  const jump = (problem: Diagnostic) =>
    problem.cell ? notebook.current?.goTo(problem.cell, problem.line ?? 1) : editor?.goTo(problem.line ?? 1, problem.column);
  return (
    <section className="panel editor-document" aria-label={path}>
      <Head workspace={workspace} file={file} readOnly={readOnly} actions={actions} onSave={save} onDialog={setDialog} />
      {file.conflict && (
        <div className="editor-conflict" role="alert">
          <span>
            <strong>Somebody else changed this file on the disk</strong> while you were editing it. Nothing of yours is lost.
          </span>
          <Button size="compact-sm" variant="default" onClick={() => setDialog("conflict")}>
            Compare and decide
          </Button>
        </div>
      )}
      {file.save.error && !file.conflict && <Trouble error={file.save.error} />}
      <Kept file={file} language={languageOf(path)} />
      <div className="editor-text">
        {body.cells ? (
          <Notebook
            ref={notebook}
            cells={body.cells}
            onChange={(cells) => file.edit({ text: null, cells })}
            diagnostics={here}
            readOnly={readOnly}
            onSave={save}
          />
        ) : (
          <CodeEditor
            handle={setEditor}
            text={body.text ?? ""}
            onChange={(text) => file.edit({ text, cells: null })}
            language={languageOf(path)}
            label={`Text of ${path}`}
            readOnly={readOnly}
            marks={here}
            names={path.endsWith(".py") ? AUTHORING : undefined}
            onSave={save}
            height="100%"
          />
        )}
      </div>
      <Problems workspace={workspace} path={path} file={file} onJump={jump} />
      {dialog === "conflict" && file.conflict && <Conflict file={file} path={path} onClose={() => setDialog(null)} />}
      {dialog === "rename" && <Rename workspace={workspace} file={onDisk} onClose={() => setDialog(null)} />}
      {dialog === "delete" && <Delete workspace={workspace} file={onDisk} onClose={() => setDialog(null)} />}
    </section>
  );
}

interface HeadProps {
  workspace: string;
  file: OpenFile;
  readOnly: boolean;
  actions: string[];
  onSave: () => void;
  onDialog: (dialog: "rename" | "delete") => void;
}

function Head({ workspace, file, readOnly, actions, onSave, onDialog }: HeadProps) {
  const { onDisk, draft, save } = file;
  if (!onDisk) return null;
  const [folder, name] = [onDisk.path.slice(0, onDisk.path.lastIndexOf("/") + 1), onDisk.path.slice(onDisk.path.lastIndexOf("/") + 1)];
  return (
    <header className="editor-head">
      <h1>
        <span className="quiet">{folder}</span>
        {name}
      </h1>
      <Text size="xs" className={draft ? "editor-unsaved" : "quiet"} role="status">
        {draft ? "● not saved" : <>saved <Ago at={onDisk.modified_at} /></>}
      </Text>
      <span className="grow" />
      <Group gap="sm" wrap="nowrap">
        {onDisk.flow && <Link to={`/w/${workspace}/flows/${onDisk.flow}`}>Open flow</Link>}
        {actions.includes("rename") && !readOnly && (
          <Button size="compact-sm" variant="default" disabled={draft !== null} title={draft ? "Save it first" : undefined} onClick={() => onDialog("rename")}>
            Rename
          </Button>
        )}
        {actions.includes("delete") && !readOnly && (
          <Button size="compact-sm" variant="default" onClick={() => onDialog("delete")}>
            Delete
          </Button>
        )}
        {onDisk.flow && <Run workspace={workspace} flow={onDisk.flow} file={file} />}
        {!readOnly && (
          <Button size="compact-sm" disabled={!draft} loading={save.isPending} title="Ctrl or ⌘ S" onClick={onSave}>
            Save
          </Button>
        )}
      </Group>
    </header>
  );
}
