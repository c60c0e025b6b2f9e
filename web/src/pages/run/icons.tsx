/** Two sheets: copy. */
export function CopyIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden>
      <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
      <path d="M10.5 3.5v-.5a1.5 1.5 0 0 0-1.5-1.5H4A1.5 1.5 0 0 0 2.5 3v5A1.5 1.5 0 0 0 4 9.5h.5" />
    </svg>
  );
}

/** An arrow onto a tray: download. */
export function DownloadIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden>
      <path d="M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11" />
    </svg>
  );
}
