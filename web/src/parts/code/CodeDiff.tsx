import { lazy, Suspense } from "react";
import type { Language } from "./language";

export interface CodeDiffProps {
  before: string;
  after: string;
  language: Language;
  /** What the sides are, in words: "as saved on the disk", "yours". */
  beforeLabel: string;
  afterLabel: string;
  /** Given, the right side can be edited, and takes changes over from the left one. */
  onChange?: (after: string) => void;
  maxHeight?: string;
}

const Compared = lazy(() => import("./compared"));

/** Two texts side by side, what differs marked, long equal parts folded. */
export function CodeDiff(props: CodeDiffProps) {
  return (
    <Suspense fallback={<div className="code" style={{ minHeight: 120 }} />}>
      <Compared {...props} />
    </Suspense>
  );
}
