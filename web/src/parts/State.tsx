const GLYPHS: Record<string, string> = {
  pending: "·",
  queued: "○",
  starting: "◌",
  running: "●",
  waiting: "◆",
  cancelling: "◍",
  succeeded: "✓",
  failed: "✗",
  rejected: "⊗",
  cancelled: "⊘",
  interrupted: "↯",
  superseded: "↺",
  ok: "✓",
  broken: "✗",
};

/** A state as its glyph and its word: never by its colour alone. */
export function State({ status, bare = false }: { status: string; bare?: boolean }) {
  return (
    <span className={`state state-${status}`} title={bare ? status : undefined}>
      <span className="glyph" aria-hidden={!bare} role={bare ? "img" : undefined} aria-label={bare ? status : undefined}>
        {GLYPHS[status] ?? "·"}
      </span>
      {!bare && status}
    </span>
  );
}
