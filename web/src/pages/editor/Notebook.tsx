import { ActionIcon, Button, Select } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconTrash } from "../../parts/icons";
import { type Ref, useEffect, useImperativeHandle, useRef, useState } from "react";
import { CodeEditor, type EditorHandle } from "../../parts/code/CodeEditor";
import { Markdown } from "../../parts/Markdown";
import { AUTHORING } from "./names";
import { newId } from "./percent";
import type { Cell, Diagnostic } from "./queries";

export interface NotebookHandle {
  goTo: (cell: string, line: number) => void;
}

interface NotebookProps {
  cells: Cell[];
  onChange: (cells: Cell[]) => void;
  diagnostics: Diagnostic[];
  readOnly: boolean;
  onSave: () => void;
  ref: Ref<NotebookHandle>;
}

/** A notebook as its cells, which are written, added, moved and deleted; what they gave when they ran last stays in the file. */
export function Notebook({ cells, onChange, diagnostics, readOnly, onSave, ref }: NotebookProps) {
  const editors = useRef(new Map<string, EditorHandle>());
  const [deleted, setDeleted] = useState<{ cell: Cell; index: number } | null>(null);
  useImperativeHandle(ref, () => ({ goTo: (cell, line) => editors.current.get(cell)?.goTo(line) }));
  const put = (index: number, cell: Cell) => onChange(cells.with(index, cell));
  const add = (index: number, kind: Cell["kind"]) => onChange(cells.toSpliced(index, 0, { id: newId(), kind, source: "" }));
  const move = (index: number, to: number) => {
    const cell = cells[index];
    if (cell) onChange(cells.toSpliced(index, 1).toSpliced(to, 0, cell));
  };
  const remove = (index: number) => {
    const cell = cells[index];
    if (cell) setDeleted({ cell, index });
    onChange(cells.toSpliced(index, 1));
  };
  let code = 0;
  return (
    <div className="notebook">
      {cells.map((cell, index) => {
        const number = cell.kind === "code" ? ++code : null;
        const name = number ? `Code cell ${number}` : `${cell.kind === "markdown" ? "Markdown" : "Raw"} cell at place ${index + 1}`;
        return (
          <section key={cell.id} className="cell" aria-label={name}>
            <div className="cell-top">
              <span className="mono quiet">{number ? `[${number}]` : ""}</span>
              {readOnly ? (
                <span className="quiet">{cell.kind}</span>
              ) : (
                <>
                  <Select
                    size="xs"
                    w={104}
                    variant="unstyled"
                    aria-label={`Kind of ${name}`}
                    data={[{ value: "code", label: "Code" }, { value: "markdown", label: "Markdown" }, { value: "raw", label: "Raw" }]}
                    value={cell.kind}
                    allowDeselect={false}
                    onChange={(kind) => kind && put(index, { ...cell, kind: kind as Cell["kind"] })}
                  />
                  <span className="grow" />
                  <ActionIcon size="sm" variant="subtle" color="gray" aria-label={`Move ${name} up`} disabled={index === 0} onClick={() => move(index, index - 1)}>
                    <IconArrowUp size={16} aria-hidden />
                  </ActionIcon>
                  <ActionIcon size="sm" variant="subtle" color="gray" aria-label={`Move ${name} down`} disabled={index === cells.length - 1} onClick={() => move(index, index + 1)}>
                    <IconArrowDown size={16} aria-hidden />
                  </ActionIcon>
                  <Button size="compact-xs" variant="subtle" color="gray" aria-label={`Add a cell below ${name}`} onClick={() => add(index + 1, "code")}>
                    + Cell
                  </Button>
                  <ActionIcon size="sm" variant="subtle" color="gray" aria-label={`Delete ${name}`} onClick={() => remove(index)}>
                    <IconTrash size={16} aria-hidden />
                  </ActionIcon>
                </>
              )}
            </div>
            <CellText
              cell={cell}
              name={name}
              marks={diagnostics.filter((each) => each.cell === cell.id)}
              readOnly={readOnly}
              onSave={onSave}
              onChange={(source) => put(index, { ...cell, source })}
              onHandle={(handle) => (handle ? editors.current.set(cell.id, handle) : editors.current.delete(cell.id))}
            />
          </section>
        );
      })}
      {!readOnly && (
        <div className="cell-add">
          <Button size="compact-sm" variant="default" onClick={() => add(cells.length, "code")}>
            Add code
          </Button>
          <Button size="compact-sm" variant="default" onClick={() => add(cells.length, "markdown")}>
            Add Markdown
          </Button>
          {deleted && (
            <Button
              size="compact-sm"
              variant="subtle"
              onClick={() => {
                onChange(cells.toSpliced(deleted.index, 0, deleted.cell));
                setDeleted(null);
              }}
            >
              Bring the deleted cell back
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

interface CellTextProps {
  cell: Cell;
  name: string;
  marks: Diagnostic[];
  readOnly: boolean;
  onSave: () => void;
  onChange: (source: string) => void;
  onHandle: (handle: EditorHandle | null) => void;
}

/** Markdown is read as a page until somebody wants to write it. An editor is made once its cell comes near. */
function CellText({ cell, name, marks, readOnly, onSave, onChange, onHandle }: CellTextProps) {
  const place = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
  const [writing, setWriting] = useState(cell.source === "");
  useEffect(() => {
    const watcher = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && setNear(true), { rootMargin: "800px" });
    if (place.current) watcher.observe(place.current);
    return () => watcher.disconnect();
  }, []);
  if (!near)
    return (
      <div ref={place}>
        <pre className="cell-far">{cell.source}</pre>
      </div>
    );
  if (cell.kind === "markdown" && !writing)
    return (
      <div className="cell-read" onDoubleClick={() => setWriting(!readOnly)}>
        <Markdown text={cell.source} />
        {!readOnly && (
          <Button size="compact-xs" variant="default" aria-label={`Edit ${name}`} onClick={() => setWriting(true)}>
            Edit
          </Button>
        )}
      </div>
    );
  return (
    <>
      <CodeEditor
        handle={onHandle}
        text={cell.source}
        onChange={onChange}
        language={cell.kind === "code" ? "python" : cell.kind === "markdown" ? "markdown" : "text"}
        label={name}
        marks={marks}
        names={cell.kind === "code" ? AUTHORING : undefined}
        readOnly={readOnly}
        onSave={onSave}
        lineNumbers={cell.kind === "code"}
      />
      {cell.kind === "markdown" && cell.source !== "" && (
        <Button size="compact-xs" variant="default" m={8} aria-label={`Read ${name}`} onClick={() => setWriting(false)}>
          Read
        </Button>
      )}
    </>
  );
}
