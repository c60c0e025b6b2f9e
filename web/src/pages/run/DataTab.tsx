import { IconDownload } from "../../parts/icons";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Run, Shape } from "../../api/client";
import { CodeView } from "../../parts/code/CodeView";
import { TablePreview } from "../../parts/TablePreview";
import { Empty, Trouble } from "../../parts/Trouble";
import { type Artifact, content, isOpen, type Step, tables, text } from "./queries";

interface DataTabProps {
  workspace: string;
  run: Run;
  step: Step | undefined;
}

/** What the run, or the chosen step, has made: pictures, tables, values, and files. */
export function DataTab({ workspace, run, step }: DataTabProps) {
  const found = useQuery(tables(workspace, run));
  const label = (index: number | null) => run.steps.find((each) => each.index === index)?.label ?? null;
  const ofStep = (index: number | null) => step === undefined || index === step.index;
  const kept = run.artifacts.filter((each) => ofStep(each.step) && each.kind !== "report");
  const named = new Map(run.artifacts.map((each) => [each.name, each.step]));
  const frames = (found.data?.tables ?? []).filter((each) => ofStep(each.artifact === null ? each.step : (named.get(each.artifact) ?? null)));
  const shown = new Set(frames.map((each) => each.artifact));
  const paths = new Set(frames.map((each) => each.path));
  const outputs = (step ? [step] : run.steps).filter((each) => each.output_path && !paths.has(each.output_path));
  const others = kept.filter((each) => !shown.has(each.name));
  if (found.error) return <Trouble error={found.error} />;
  if (!found.data) return null;
  if (kept.length + frames.length + outputs.length === 0)
    return (
      <Empty command={isOpen(run) ? undefined : 'context.show(figure, "delays")'}>
        {isOpen(run) ? "Nothing was kept so far." : `${step ? step.label : "This run"} kept nothing to look at. A step keeps pictures and tables with:`}
      </Empty>
    );
  return (
    <div className="run-tab">
      {others.filter(isPicture).map((each) => (
        <Kept key={each.path} workspace={workspace} run={run} name={each.name} step={label(each.step)} path={each.path}>
          <Picture workspace={workspace} run={run} artifact={each} />
        </Kept>
      ))}
      {frames.map((each, index) => (
        <Table key={each.name} workspace={workspace} run={run} table={each} opened={index < MOST_OPENED} step={label(each.step ?? named.get(each.artifact ?? "") ?? null)} />
      ))}
      {others
        .filter((each) => !isPicture(each))
        .map((each) => (
          <Kept key={each.path} workspace={workspace} run={run} name={each.name} step={label(each.step)} path={each.path}>
            {each.kind === "json" && <Value workspace={workspace} run={run} path={each.path} name={each.name} />}
          </Kept>
        ))}
      {outputs.map((each) => (
        <section key={each.index} className="kept" aria-label={`Output of ${each.label}`}>
          <h2>
            <Link className="mono" to={`/w/${workspace}/data?${new URLSearchParams({ path: each.output_path ?? "" })}`}>
              {each.output_path}
            </Link>
            <span className="quiet">{each.label}</span>
          </h2>
        </section>
      ))}
    </div>
  );
}

/** Each costs a look into a file; the others are a click away. */
const MOST_OPENED = 8;

const isPicture = (artifact: Artifact) => artifact.kind === "image" || artifact.kind === "figure";

interface KeptProps {
  workspace: string;
  run: Run;
  name: string;
  step: string | null;
  path: string;
  children?: ReactNode;
}

/** Something that was kept in the run's folder: opened on the data page, or downloaded. */
function Kept({ workspace, run, name, step, path, children }: KeptProps) {
  return (
    <section className="kept" aria-label={name}>
      <h2>
        <Link to={`/w/${workspace}/data?${new URLSearchParams({ path, run: run.id })}`}>{name}</Link>
        {step && <span className="quiet">{step}</span>}
        <span className="grow" />
        <a href={content(workspace, run.id, path)} download aria-label={`Download ${name}`} title="Download">
          <IconDownload size={16} aria-hidden />
        </a>
      </h2>
      {children}
    </section>
  );
}

/** A picture as it is, or a chart as the page that its library wrote. */
function Picture({ workspace, run, artifact }: { workspace: string; run: Run; artifact: Artifact }) {
  const page = artifact.info.html;
  if (typeof page === "string") {
    const path = artifact.path.slice(0, artifact.path.lastIndexOf("/") + 1) + page;
    return <iframe title={artifact.name} src={content(workspace, run.id, path)} sandbox="allow-scripts" loading="lazy" />;
  }
  if (artifact.path.endsWith(".json")) return <Value workspace={workspace} run={run} path={artifact.path} name={artifact.name} />;
  return <img src={content(workspace, run.id, artifact.path)} alt={artifact.name} loading="lazy" />;
}

/** A small value as it was written. */
function Value({ workspace, run, path, name }: { workspace: string; run: Run; path: string; name: string }) {
  const found = useQuery(text(workspace, run.id, path));
  if (found.error) return <Trouble error={found.error} />;
  return found.data ? <CodeView text={found.data.text.trimEnd()} language="json" label={name} maxHeight="320px" /> : null;
}

interface TableProps {
  workspace: string;
  run: Run;
  table: Shape["RunTable"];
  step: string | null;
  /** Its first rows are shown. */
  opened: boolean;
}

/** A table by its first rows; all of them are on the data page. */
function Table({ workspace, run, table, step, opened }: TableProps) {
  const source = table.artifact !== null ? { run_id: run.id, artifact: table.artifact } : { run_id: run.id, step: table.step ?? 0 };
  return (
    <section className="kept" aria-label={table.name}>
      <h2>
        <Link to={`/w/${workspace}/data?${new URLSearchParams({ path: table.path })}`}>{table.name}</Link>
        {step && <span className="quiet">{step}</span>}
      </h2>
      {opened && <TablePreview workspace={workspace} source={source} />}
    </section>
  );
}
