import { useQuery } from "@tanstack/react-query";
import type { Run } from "../../api/client";
import { Markdown } from "../../parts/Markdown";
import { Empty, Trouble } from "../../parts/Trouble";
import { type Artifact, content, isOpen, type Step, text } from "./queries";

interface ReportTabProps {
  workspace: string;
  run: Run;
  step: Step | undefined;
}

/** What the run has written for people. */
export function ReportTab({ workspace, run, step }: ReportTabProps) {
  const reports = run.artifacts.filter((each) => each.kind === "report" && (!step || each.step === step.index));
  if (reports.length === 0)
    return (
      <Empty command={isOpen(run) ? undefined : 'context.report("# Delays")'}>
        {isOpen(run) ? "No report so far." : "No report was written. A step writes one, in Markdown, with:"}
      </Empty>
    );
  return (
    <div className="run-tab">
      {reports.map((each) => (
        <Report key={each.path} workspace={workspace} run={run} artifact={each} />
      ))}
    </div>
  );
}

function Report({ workspace, run, artifact }: { workspace: string; run: Run; artifact: Artifact }) {
  const found = useQuery(text(workspace, run.id, artifact.path));
  if (found.error) return <Trouble error={found.error} />;
  if (!found.data) return null;
  // A picture is named as it was kept, or by its file beside the report.
  const image = (source: string) => {
    const kept = run.artifacts.find((each) => each.name === source || each.path.endsWith(`/${source}`));
    return kept ? content(workspace, run.id, kept.path) : null;
  };
  return (
    <article className="report" aria-label={artifact.name}>
      <Markdown text={found.data.text} image={image} />
    </article>
  );
}
