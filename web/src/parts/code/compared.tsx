import "./code.css";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { MergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { useEffect, useEffectEvent, useRef } from "react";
import type { CodeDiffProps } from "./CodeDiff";
import { languageRoom, look } from "./look";

export default function Compared({ before, after, language, beforeLabel, afterLabel, onChange, maxHeight }: CodeDiffProps) {
  const place = useRef<HTMLDivElement>(null);
  const editable = onChange !== undefined;
  const tell = useEffectEvent((text: string) => onChange?.(text));
  const begun = useEffectEvent(() => after);
  useEffect(() => {
    if (!place.current) return;
    const left = languageRoom(language);
    const right = languageRoom(language);
    const fixed = [
      EditorState.readOnly.of(true),
      EditorView.editable.of(false),
      EditorView.contentAttributes.of({ tabindex: "0", role: "textbox", "aria-readonly": "true", "aria-multiline": "true" }),
    ];
    const edited = [
      history(),
      keymap.of([...defaultKeymap, ...historyKeymap]),
      EditorView.updateListener.of((update) => update.docChanged && tell(update.state.doc.toString())),
    ];
    const merge = new MergeView({
      parent: place.current,
      a: { doc: before, extensions: [look(beforeLabel), left.room, lineNumbers(), EditorView.lineWrapping, fixed] },
      b: { doc: begun(), extensions: [look(afterLabel), right.room, lineNumbers(), EditorView.lineWrapping, editable ? edited : fixed] },
      collapseUnchanged: { margin: 3, minSize: 6 },
      ...(editable ? { revertControls: "a-to-b" as const } : {}),
    });
    left.fill(merge.a);
    right.fill(merge.b);
    return () => merge.destroy();
    // What is edited is told, and not asked for again: the view has it. A text that cannot be edited is shown anew.
  }, [before, editable ? null : after, language, beforeLabel, afterLabel, editable]);
  return (
    <div className="code">
      <div className="code-sides">
        <span>{beforeLabel}</span>
        <span>{afterLabel}</span>
      </div>
      <div ref={place} style={{ maxHeight: maxHeight ?? "none", overflow: "auto" }} />
    </div>
  );
}
