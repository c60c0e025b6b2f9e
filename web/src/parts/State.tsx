import {
  IconAlertTriangle, IconBan, IconBolt, IconCircleCheck, IconCircleDashed, IconCircleDot, IconCircleMinus, IconCircleOff,
  IconCircleX, IconHourglass, IconPoint, IconRotate2, type Icon,
} from "./icons";

const GLYPHS: Record<string, Icon> = {
  pending: IconPoint,
  queued: IconCircleDashed,
  starting: IconCircleDot,
  running: IconCircleDot,
  waiting: IconHourglass,
  cancelling: IconCircleMinus,
  succeeded: IconCircleCheck,
  failed: IconCircleX,
  rejected: IconBan,
  cancelled: IconCircleOff,
  interrupted: IconBolt,
  superseded: IconRotate2,
  ok: IconCircleCheck,
  broken: IconAlertTriangle,
};

interface StateProps {
  status: string;
  bare?: boolean;
  /** What it is called, where that is another word. */
  word?: string;
}

/** A state as its glyph and its word, or, `bare`, as the glyph alone: never by its colour alone. */
export function State({ status, bare = false, word = status }: StateProps) {
  const Glyph = GLYPHS[status] ?? IconPoint;
  return (
    <span className={`state state-${status}`} title={bare ? word : undefined}>
      {bare ? (
        <Glyph className="glyph" size={16} role="img" aria-label={word} />
      ) : (
        <>
          <Glyph className="glyph" size={16} aria-hidden />
          <span className="word">{word}</span>
        </>
      )}
    </span>
  );
}
