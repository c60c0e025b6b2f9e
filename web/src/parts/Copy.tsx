import { type MouseEvent, useState } from "react";

interface CopyProps {
  text: string;
  children: string;
  /** False in a list that has keys of its own. */
  tabbable?: boolean;
}

/** A short text that a click copies, whole. */
export function Copy({ text, children, tabbable = true }: CopyProps) {
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
    <button type="button" className="copy mono" tabIndex={tabbable ? 0 : -1} title={`${text}, a click copies it`} onClick={copy}>
      {copied ? "copied" : children}
    </button>
  );
}
