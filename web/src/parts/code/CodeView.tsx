import { lazy, Suspense } from "react";
import type { Language } from "./language";

export interface CodeViewProps {
  text: string;
  language: Language;
  /** What a screen reader calls it. */
  label: string;
  /** The line that is marked and brought into view, numbered as shown. */
  marked?: number | null;
  /** The number of the first line, for a part of a file. */
  firstLine?: number;
  /** Beyond this height (any CSS length) it scrolls by itself. */
  maxHeight?: string;
}

const Shown = lazy(() => import("./shown"));

/** Code to be read: highlighted, selectable, searchable by the browser's own means. */
export function CodeView(props: CodeViewProps) {
  const height = `min(${props.text.split("\n").length * 18 + 16}px, ${props.maxHeight ?? "100000px"})`;
  return (
    <Suspense fallback={<div className="code" style={{ height }} />}>
      <Shown {...props} />
    </Suspense>
  );
}
