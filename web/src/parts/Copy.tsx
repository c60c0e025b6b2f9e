import { type MouseEvent, useState } from "react";

/** A short text that a click copies, whole. */
export function Copy({ text, children }: { text: string; children: string }) {
  const [copied, setCopied] = useState(false);
  const copy = (event: MouseEvent) => {
    event.preventDefault();
    event.stopPropagation();
    void navigator.clipboard.writeText(text).then(() => {
      setCopied(true);
      window.setTimeout(() => setCopied(false), 1200);
    });
  };
  return (
    <button type="button" className="copy mono" tabIndex={-1} title={`${text}, a click copies it`} onClick={copy}>
      {copied ? "copied" : children}
    </button>
  );
}
