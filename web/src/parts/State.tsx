import {
  IconAlertTriangle, IconBan, IconBolt, IconCircleCheck, IconCircleDashed, IconCircleDot, IconCircleMinus, IconCircleOff,
  IconCircleX, IconHourglass, IconPoint, IconRotate2, type TablerIcon,
} from "@tabler/icons-react";

const GLYPHS: Record<string, TablerIcon> = {
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

/** A state as its glyph and its word, or, `bare`, as the glyph alone: never by its colour alone. */
export function State({ status, bare = false }: { status: string; bare?: boolean }) {
  const Glyph = GLYPHS[status] ?? IconPoint;
  return (
    <span className={`state state-${status}`} title={bare ? status : undefined}>
      {bare ? (
        <Glyph className="glyph" size={16} role="img" aria-label={status} />
      ) : (
        <>
          <Glyph className="glyph" size={16} aria-hidden />
          <span className="word">{status}</span>
        </>
      )}
    </span>
  );
}
