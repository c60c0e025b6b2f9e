import { lazy, Suspense } from "react";

export interface MarkdownProps {
  text: string;
  /** Where an image is read from; null where it is not shown, and its words stand for it. */
  image?: (source: string) => string | null;
  /** Where a link leads: an address of the console, or null where it stays as it is written. */
  link?: (target: string) => string | null;
  /** The anchors of its headings, by their lines. */
  anchors?: ReadonlyMap<number, string>;
  /** Told once it stands on the page. */
  onShown?: () => void;
}

const Rendered = lazy(() => import("./markdown/Rendered"));

/** Markdown as a page: tables and lists too, no HTML of its own, nothing asked for elsewhere. */
export function Markdown(props: MarkdownProps) {
  return (
    <Suspense fallback={<div style={{ minHeight: 120 }} />}>
      <Rendered {...props} />
    </Suspense>
  );
}
