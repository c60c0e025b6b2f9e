/** What became of a source file, as glyph and word. */
const WORDS: Record<string, [glyph: string, words: string, look: string]> = {
  fresh: ["✓", "fresh", "succeeded"],
  changed: ["Δ", "changed", "waiting"],
  failed: ["✗", "failed", "failed"],
  never: ["·", "never run", "pending"],
  queued: ["○", "queued", "queued"],
  running: ["●", "running", "running"],
  interrupted: ["↯", "interrupted", "interrupted"],
};

export const FILE_STATES = Object.keys(WORDS);

export function FileState({ state }: { state: string }) {
  const [glyph, words, look] = WORDS[state] ?? ["·", state, "pending"];
  return (
    <span className={`state state-${look}`}>
      <span className="glyph" aria-hidden>
        {glyph}
      </span>
      {words}
    </span>
  );
}
