import { lazy, type Ref, Suspense } from "react";
import type { Language } from "./language";

/** Something for the margin: `line` is counted from 1; without one it belongs to the whole text. */
export interface Mark {
  line: number | null;
  column?: number | null;
  severity: "error" | "warning" | "info";
  message: string;
  hint?: string;
}

export interface EditorHandle {
  goTo: (line: number, column?: number | null) => void;
  focus: () => void;
}

export interface CodeEditorProps {
  text: string;
  onChange: (text: string) => void;
  language: Language;
  label: string;
  readOnly?: boolean;
  marks?: readonly Mark[];
  /** Names to be offered beside the words of the text. */
  names?: readonly string[];
  /** Mod-s. */
  onSave?: () => void;
  /** Mod-Enter. */
  onRun?: () => void;
  handle?: Ref<EditorHandle>;
  /** "auto" grows with the text; any other CSS length scrolls inside. */
  height?: string;
  lineNumbers?: boolean;
}

const Edited = lazy(() => import("./edited"));

/** Code to be written, with what is wrong with it in the margin. */
export function CodeEditor(props: CodeEditorProps) {
  return (
    <Suspense fallback={<div className="code" style={{ minHeight: 52, height: props.height }} />}>
      <Edited {...props} />
    </Suspense>
  );
}
