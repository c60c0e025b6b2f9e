import "./code.css";
import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completeAnyWord, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Text } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers as numbers } from "@codemirror/view";
import { useEffect, useEffectEvent, useImperativeHandle, useRef } from "react";
import type { CodeEditorProps, Mark } from "./CodeEditor";
import { languageRoom, look } from "./look";

export default function Edited({
  text, onChange, language, label, readOnly = false, marks = [], names = [], onSave, onRun, handle, height = "auto", lineNumbers = true,
}: CodeEditorProps) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const editing = useRef(new Compartment());
  const changed = useEffectEvent(onChange);
  const save = useEffectEvent(() => onSave?.());
  const run = useEffectEvent(() => onRun?.());
  const offered = useEffectEvent(() => names);
  const begun = useEffectEvent(() => ({ text, readOnly, marks }));

  useEffect(() => {
    if (!place.current) return;
    const { room, fill } = languageRoom(language);
    const now = begun();
    const made = new EditorView({
      parent: place.current,
      doc: now.text,
      extensions: [
        look(label),
        room,
        lineNumbers ? [numbers(), foldGutter()] : [],
        lintGutter(),
        history(),
        drawSelection(),
        indentUnit.of("    "),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        highlightActiveLine(),
        highlightSelectionMatches(),
        search({ top: true }),
        autocompletion({ icons: false, defaultKeymap: false }),
        EditorState.languageData.of(() => [
          { autocomplete: completeAnyWord },
          { autocomplete: offered().map((name) => ({ label: name })) },
        ]),
        keymap.of([
          { key: "Mod-s", run: () => (save(), true), preventDefault: true },
          { key: "Mod-Enter", run: () => (run(), true) },
          { key: "Tab", run: acceptCompletion },
          ...completionKeymap, ...closeBracketsKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...lintKeymap, ...defaultKeymap,
          // Escape, then Tab leaves: nobody is kept in here.
          indentWithTab,
        ]),
        editing.current.of(fixed(now.readOnly)),
        EditorView.theme({ "&": { height }, ".cm-scroller": { overflow: "auto" } }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !update.transactions.some((each) => each.isUserEvent("given"))) changed(update.state.doc.toString());
        }),
      ],
    });
    view.current = made;
    made.dispatch(setDiagnostics(made.state, now.marks.map((mark) => placed(mark, made.state.doc))));
    fill(made);
    return () => {
      made.destroy();
      view.current = null;
    };
  }, [language, label, height, lineNumbers]);

  // What comes from elsewhere changes only what differs, so that the cursor stays where it was.
  useEffect(() => {
    const now = view.current?.state.doc.toString();
    if (now === undefined || now === text) return;
    let from = 0;
    while (from < now.length && from < text.length && now[from] === text[from]) from++;
    let end = 0;
    while (end < now.length - from && end < text.length - from && now.at(-1 - end) === text.at(-1 - end)) end++;
    view.current?.dispatch({
      changes: { from, to: now.length - end, insert: text.slice(from, text.length - end) },
      userEvent: "given",
    });
  }, [text]);

  useEffect(() => {
    view.current?.dispatch({ effects: editing.current.reconfigure(fixed(readOnly)) });
  }, [readOnly]);

  useEffect(() => {
    const made = view.current;
    if (made) made.dispatch(setDiagnostics(made.state, marks.map((mark) => placed(mark, made.state.doc))));
  }, [marks]);

  useImperativeHandle(handle, () => ({
    goTo: (line, column) => {
      const made = view.current;
      if (!made) return;
      const target = made.state.doc.line(Math.min(Math.max(1, line), made.state.doc.lines));
      const anchor = Math.min(target.to, target.from + Math.max(0, (column ?? 1) - 1));
      made.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
      made.focus();
    },
    focus: () => view.current?.focus(),
  }), []);

  return <div ref={place} className="code" style={{ height }} />;
}

/** One that cannot be edited can still be reached, read and searched by keys. */
function fixed(readOnly: boolean) {
  return [EditorState.readOnly.of(readOnly), readOnly ? EditorView.contentAttributes.of({ "aria-readonly": "true" }) : []];
}

function placed(mark: Mark, doc: Text): Diagnostic {
  const line = doc.line(Math.min(Math.max(1, mark.line ?? 1), doc.lines));
  const indent = line.text.length - line.text.trimStart().length;
  const from = Math.min(line.to, line.from + (mark.column ? mark.column - 1 : indent));
  return { from, to: line.to, severity: mark.severity, message: mark.hint ? `${mark.message}\n${mark.hint}` : mark.message };
}
