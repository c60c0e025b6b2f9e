import { Text, Title, UnstyledButton } from "@mantine/core";
import { IconChevronLeft, IconChevronRight } from "../../parts/icons";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Run, Shape } from "../../api/client";
import { overview } from "../../api/queries";
import { Copy } from "../../parts/Copy";
import { State } from "../../parts/State";
import { Ago, Took } from "../../parts/Times";
import { said, shortId } from "../../parts/words";
import { Actions } from "./Actions";
import { neighbours, type Step } from "./queries";

interface HeadingProps {
  workspace: string;
  run: Run;
  step: Step | undefined;
  onError: () => void;
}

/** Which run it is, how it went, and what can be done about it. */
export function Heading({ workspace, run, step, onError }: HeadingProps) {
  const known = useQuery(overview(workspace)).data?.flows.find((each) => each.name === run.flow);
  const at = `/w/${workspace}`;
  return (
    <header className="run-heading">
      <div className="run-title">
        <Title order={1}>
          <State bare status={run.status} /> <Link to={`${at}/flows/${run.flow}`}>{known?.label ?? run.flow}</Link>
        </Title>
        <Neighbours workspace={workspace} run={run} />
        <span className="grow" />
        <Actions workspace={workspace} run={run} step={step} />
      </div>
      <div className="run-facts quiet">
        <span className={`state-${run.status}`}>
          <span className="word">{run.status}</span>
        </span>
        <span>
          {run.trigger} <Ago at={run.queued_at} />
        </span>
        {run.started_at && (
          <span>
            {run.finished_at ? "took " : "running for "}
            <Took from={run.started_at} to={run.finished_at} />
          </span>
        )}
        {run.attempt > 1 && <span>attempt {run.attempt}</span>}
        {run.retry_of && (
          <span>
            retry of <Link to={`${at}/runs/${run.retry_of}`}>{shortId(run.retry_of)}</Link>
          </span>
        )}
        {run.source_path && <Source path={run.source_path} root={known?.trigger?.source ?? null} at={at} />}
        <Copy text={run.id}>{shortId(run.id)}</Copy>
      </div>
      {run.waiting_for && (
        <Text size="sm" className="run-line" role="status">
          <State bare status="waiting" /> Waiting for {run.waiting_for}
        </Text>
      )}
      {run.summary && (
        <Text size="sm" fw={500} className="run-line">
          {run.summary}
        </Text>
      )}
      {run.error && (
        <Text size="sm" className="run-line">
          <span className="state-failed">
            {run.error.step && `${run.error.step}: `}
            {said(run.error)}
          </span>{" "}
          {run.error.file && (
            <UnstyledButton className="mono run-place" onClick={onError} title="Show the error">
              {run.error.file}
              {run.error.line ? `:${run.error.line}` : ""}
            </UnstyledButton>
          )}
        </Text>
      )}
    </header>
  );
}

/** The file that the run is about; `root` is the folder (or the one file) that its flow takes files from. */
function Source({ path, root, at }: { path: string; root: string | null; at: string }) {
  if (!root) return <span className="mono">{path}</span>;
  const whole = root.endsWith(`/${path}`) ? root : `${root}/${path}`;
  return (
    <Link className="mono" to={`${at}/data?${new URLSearchParams({ path: whole })}`} title={whole}>
      {path}
    </Link>
  );
}

function Neighbours({ workspace, run }: { workspace: string; run: Run }) {
  const found = useQuery(neighbours(workspace, run)).data;
  const to = (other: Shape["Neighbour"] | null | undefined, name: string, glyph: ReactNode) =>
    other ? (
      <Link to={`/w/${workspace}/runs/${other.id}`} aria-label={`${name} run of this flow, ${other.status}`} title={`${name} run: ${other.status}`}>
        {glyph}
      </Link>
    ) : (
      <span className="quiet" aria-hidden>
        {glyph}
      </span>
    );
  return (
    <nav className="run-neighbours" aria-label="Runs of this flow">
      {to(found?.previous, "Previous", <IconChevronLeft size={16} aria-hidden />)}
      {to(found?.next, "Next", <IconChevronRight size={16} aria-hidden />)}
    </nav>
  );
}
