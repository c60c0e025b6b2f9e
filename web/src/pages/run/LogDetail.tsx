import { Button, CloseButton } from "@mantine/core";
import { exact } from "../../parts/words";
import type { Line } from "./logLines";

/** The chosen line, whole, with the data that came with it. */
export function LogDetail({ line, onContext, onClose }: { line: Line; onContext: (() => void) | null; onClose: () => void }) {
  const data = Object.entries(line.data);
  return (
    <div className="log-detail" role="region" aria-label={`Line ${line.line + 1}`}>
      <div className="log-detail-head quiet small">
        <span className="mono">line {(line.line + 1).toLocaleString()}</span>
        <span>{line.level}</span>
        <span title={line.timestamp}>{exact(line.timestamp)}</span>
        {typeof line.context.step === "string" && <span className="mono">{line.context.step}</span>}
        <span className="grow" />
        {onContext && (
          <Button size="compact-xs" variant="default" onClick={onContext}>
            Show in context
          </Button>
        )}
        <CloseButton size="xs" aria-label="Close the line" onClick={onClose} />
      </div>
      <pre tabIndex={0} aria-label="Message">
        {line.message}
        {data.length > 0 && `\n${data.map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join("\n")}`}
      </pre>
    </div>
  );
}
