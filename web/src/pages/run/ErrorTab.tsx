import { Text } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Run, Shape } from "../../api/client";
import { CodeView } from "../../parts/code/CodeView";
import { State } from "../../parts/State";
import { Empty, Trouble } from "../../parts/Trouble";
import { count, duration, said } from "../../parts/words";
import { Actions } from "./Actions";
import { type Failure, failure, items, type Step } from "./queries";

interface ErrorTabProps {
  workspace: string;
  run: Run;
  step: Step | undefined;
  item: number | null;
  onChoose: (step: string | null, item: number | null) => void;
}

/** What went wrong: in the chosen item or step, else in the run; with the author's own line, and what to do now. */
export function ErrorTab({ workspace, run, step, item, onChoose }: ErrorTabProps) {
  const found = useQuery(failure(workspace, run));
  const parts = useInfiniteQuery({ ...items(workspace, run.id, step), enabled: step?.kind === "map" });
  const part = parts.data?.pages.flatMap((page) => page.items).find((each) => each.item === item);
  if (found.error) return <Trouble error={found.error} />;
  if (!found.data) return null;
  if (step && item !== null) {
    const name = `Item ${item} of ${step.label}`;
    if (!part) return null;
    if (!part.error) return <Empty>{`${name} ${part.status}, in ${duration(part.duration_ms)}.`}</Empty>;
    return (
      <div className="run-tab">
        <Told workspace={workspace} error={part.error} title={name} source={null} changed={found.data.changed}>
          <Actions workspace={workspace} run={run} step={step} />
        </Told>
      </div>
    );
  }
  const ofRun = step === undefined || step.name === found.data.step?.name;
  const error = ofRun ? found.data.error : step.error;
  const maps = (step ? [step] : run.steps).filter((each) => each.items_failed);
  if (!error && maps.length === 0)
    return <Empty>{step ? `Nothing went wrong in ${step.label}.` : "Nothing went wrong in this run."}</Empty>;
  return (
    <div className="run-tab">
      {error && (
        <Told
          workspace={workspace}
          error={error}
          title={error.step ?? step?.label ?? null}
          source={ofRun ? found.data.source : null}
          changed={found.data.changed}
        >
          <Actions workspace={workspace} run={run} step={step} />
        </Told>
      )}
      {maps.map((each) => (
        <FailedItems key={each.index} workspace={workspace} run={run} step={each} onChoose={onChoose} />
      ))}
    </div>
  );
}

interface ToldProps {
  workspace: string;
  error: Failure;
  /** What it happened in. */
  title: string | null;
  source: Shape["SourceExcerpt"] | null;
  /** The module is another by now. */
  changed: boolean;
  children?: ReactNode;
}

/** What, where, and what now. */
function Told({ workspace, error, title, source, changed, children }: ToldProps) {
  const line = source?.line ?? error.line ?? null;
  const text = source ? source.lines.join("\n") : error.source;
  const language = error.file?.endsWith(".toml") ? "toml" : "python";
  return (
    <section className="told" aria-label={title ? `Error in ${title}` : "Error"}>
      <Text size="lg" fw={600} component="h2">
        {title && <span className="quiet">{title}: </span>}
        <span className="state-failed">
          {said(error)}
        </span>
      </Text>
      {error.file && (
        <Link
          className="mono"
          to={`/w/${workspace}/editor?${new URLSearchParams({ path: error.file, ...(line ? { line: String(line) } : {}) })}`}
        >
          {error.file}
          {source?.cell ? `, cell ${source.cell}` : ""}
          {line ? `:${line}` : ""}
        </Link>
      )}
      {text && (
        <div className="told-source">
          <CodeView text={text} language={language} label="The line that failed" firstLine={source?.first ?? line ?? 1} marked={line} />
        </div>
      )}
      {error.words && <pre tabIndex={0}>{error.words}</pre>}
      <Text size="sm">
        <b>What now: </b>
        {error.hint || (line ? "Mend the line, then retry: the steps before it are kept as they are." : "Mend the cause, then retry.")}
        {changed && " The module has changed since; a retry runs it as it is now."}
      </Text>
      {children}
      {error.traceback && (
        <details>
          <summary>Traceback</summary>
          <pre tabIndex={0}>{error.traceback}</pre>
        </details>
      )}
    </section>
  );
}

/** The items of a map that failed, or were left out. */
function FailedItems({ workspace, run, step, onChoose }: Omit<ErrorTabProps, "item" | "step"> & { step: Step }) {
  const found = useInfiniteQuery(items(workspace, run.id, step));
  const failed = (found.data?.pages ?? []).flatMap((page) => page.items).filter((each) => each.status !== "succeeded");
  return (
    <section aria-label={`Failed items of ${step.label}`}>
      <Text size="sm" fw={600} component="h2" mb="xs">
        {count(step.items_failed ?? 0, "item")} of {step.label} failed
      </Text>
      <table className="rows">
        <tbody>
          {failed.slice(0, MOST_LISTED).map((each) => (
            <tr key={each.item}>
              <td className="item-number">
                <State bare status={each.status} />{" "}
                <button type="button" className="plain mono" onClick={() => onChoose(step.name, each.item)}>
                  item {each.item}
                </button>
              </td>
              <td title={each.error?.message}>{each.error?.message ?? each.status}</td>
              <td className="mono right">{duration(each.duration_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {(step.items_failed ?? 0) > MOST_LISTED && <p className="quiet small">All of them are listed when {step.label} is opened in the timeline.</p>}
    </section>
  );
}

const MOST_LISTED = 100;
