import "./code.css";
import { foldGutter } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { Decoration, EditorView, keymap, lineNumbers } from "@codemirror/view";
import { searchKeymap, search } from "@codemirror/search";
import { useEffect, useRef } from "react";
import type { CodeViewProps } from "./CodeView";
import { languageRoom, look } from "./look";

const MARK = Decoration.line({ class: "cm-marked" });

export default function Shown({ text, language, label, marked = null, firstLine = 1, maxHeight }: CodeViewProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!place.current) return;
    const { room, fill } = languageRoom(language);
    const doc = EditorState.create({ doc: text }).doc;
    const line = marked === null ? null : marked - firstLine + 1;
    const target = line !== null && line >= 1 && line <= doc.lines ? doc.line(line) : null;
    const view = new EditorView({
      parent: place.current,
      doc,
      extensions: [
        look(label),
        room,
        lineNumbers({ formatNumber: (number) => String(number + firstLine - 1) }),
        foldGutter(),
        search({ top: true }),
        keymap.of(searchKeymap),
        EditorState.readOnly.of(true),
        EditorView.editable.of(false),
        // Not to be edited, but to be reached and scrolled by keys.
        EditorView.contentAttributes.of({ tabindex: "0", role: "textbox", "aria-readonly": "true", "aria-multiline": "true" }),
        EditorView.theme({ "&": { maxHeight: maxHeight ?? "none" }, ".cm-scroller": { overflow: "auto" } }),
        target ? EditorView.decorations.of(Decoration.set(MARK.range(target.from))) : [],
      ],
    });
    if (target) view.dispatch({ effects: EditorView.scrollIntoView(target.from, { y: "center" }) });
    fill(view);
    return () => view.destroy();
  }, [text, language, label, marked, firstLine, maxHeight]);
  return <div ref={place} className="code" />;
}
