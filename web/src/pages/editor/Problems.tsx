import { IconAlertTriangle, IconCircleX, IconInfoCircle } from "../../parts/icons";
import { Link } from "react-router";
import { State } from "../../parts/State";
import { count } from "../../parts/words";
import type { Diagnostic } from "./queries";
import type { OpenFile } from "./useOpenFile";

const SIGNS = {
  error: [IconCircleX, "state-failed"],
  warning: [IconAlertTriangle, "state-waiting"],
  info: [IconInfoCircle, "quiet"],
} as const;

interface ProblemsProps {
  workspace: string;
  path: string;
  file: OpenFile;
  onJump: (problem: Diagnostic) => void;
}

/** What is wrong, one below the other; each leads to its line. */
export function Problems({ workspace, path, file: { diagnostics, checking }, onJump }: ProblemsProps) {
  return (
    <section className="editor-problems" aria-label="Problems" aria-busy={checking}>
      <h2 role="status">
        {diagnostics.length > 0 ? count(diagnostics.length, "problem") : checking ? "Checking…" : <State status="succeeded" word="No problems" />}
        {diagnostics.length > 0 && checking && <span className="quiet"> · checking…</span>}
      </h2>
      <ul>
        {diagnostics.map((each, index) => {
          const [Sign, state] = SIGNS[each.severity];
          const said = (
            <>
              <Sign className={state} size={16} role="img" aria-label={each.severity} />
              <span className="mono quiet">
                {each.file !== path && `${each.file} `}
                {each.line !== null && `line ${each.line}`}
              </span>
              <span>
                {each.message} {each.hint && <span className="quiet">{each.hint}</span>}
              </span>
            </>
          );
          return (
            <li key={index}>
              {each.file === path ? (
                <button type="button" onClick={() => onJump(each)}>
                  {said}
                </button>
              ) : (
                <Link to={`/w/${workspace}/editor?path=${encodeURIComponent(each.file)}${each.line ? `&line=${each.line}` : ""}`}>{said}</Link>
              )}
            </li>
          );
        })}
      </ul>
    </section>
  );
}
