import {
  IconBolt, IconCircleCheck, IconCircleDashed, IconCircleDot, IconCircleX, IconDelta, IconPoint, type Icon,
} from "../../parts/icons";

/** What can have become of a source file: glyph, words, and the state whose colour it has. */
const WORDS: Record<string, [glyph: Icon, words: string, look: string]> = {
  fresh: [IconCircleCheck, "fresh", "succeeded"],
  changed: [IconDelta, "changed", "waiting"],
  failed: [IconCircleX, "failed", "failed"],
  never: [IconPoint, "never run", "pending"],
  queued: [IconCircleDashed, "queued", "queued"],
  running: [IconCircleDot, "running", "running"],
  interrupted: [IconBolt, "interrupted", "interrupted"],
};

export const FILE_STATES = Object.keys(WORDS);

/** What became of a source file, as glyph and word. */
export function FileState({ state }: { state: string }) {
  const [Glyph, words, look] = WORDS[state] ?? [IconPoint, state, "pending"];
  return (
    <span className={`state state-${look}`}>
      <Glyph className="glyph" size={16} aria-hidden />
      {words}
    </span>
  );
}
