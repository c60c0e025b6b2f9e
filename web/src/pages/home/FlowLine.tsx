import { Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "react-router";
import type { FlowOverview } from "../../api/client";
import { useAction, whatIsDue, workspaces } from "../../api/queries";
import { Bars } from "../../parts/Bars";
import { State } from "../../parts/State";
import { Ago, Due, Took } from "../../parts/Times";
import { trigger } from "../../parts/triggers";
import { said } from "../../parts/words";
import { useRunFlow } from "../flow/starting";

interface Props {
  flow: FlowOverview;
  workspace: string;
  /** Why nothing is started or stopped from here, if that is so. */
  refusal: string | null;
}

/** A flow in one line: when it runs, how it went, what it does now, and the button for it. */
export function FlowLine({ flow, workspace, refusal }: Props) {
  const root = useQuery(workspaces).data?.workspaces.find((each) => each.workspace === workspace)?.path ?? "";
  const broken = flow.status === "broken";
  const status = flow.running[0]?.status ?? flow.last?.status ?? "pending";
  return (
    <tr>
      <td className="glyphs">
        <State bare status={flow.status === "ok" ? status : flow.status} />
      </td>
      <td className="label" title={flow.description ?? undefined}>
        <Link to={`/w/${workspace}/flows/${flow.name}`}>{flow.label}</Link>
      </td>
      <td className="quiet" colSpan={broken ? 3 : 1} title={flow.error?.hint ?? flow.condition ?? undefined}>
        {flow.error ? <Wrong error={flow.error} /> : (flow.condition ?? trigger(flow.trigger, root))}
        {flow.next_due && (
          <>
            {" · next "}
            <Due at={flow.next_due} />
          </>
        )}
        {flow.queued > 0 && ` · ${flow.queued.toLocaleString()} waiting`}
      </td>
      {!broken && (
        <>
          <td className="right spark">
            <Bars runs={flow.runs} workspace={workspace} />
          </td>
          <td className="quiet now">
            <Now flow={flow} workspace={workspace} />
          </td>
        </>
      )}
      <td className="right act">
        <Start flow={flow} workspace={workspace} refusal={refusal} />
      </td>
    </tr>
  );
}

/** What is wrong, where, and what to do about it. */
function Wrong({ error }: { error: NonNullable<FlowOverview["error"]> }) {
  return (
    <>
      <span className="state-failed">
        {error.file && (
          <span className="mono">
            {error.file}
            {error.line ? `:${error.line}` : ""}{" "}
          </span>
        )}
        {said(error)}
      </span>
      {error.hint && ` · ${error.hint}`}
    </>
  );
}

/** What runs now, with how far it is; else how the last run ended. */
function Now({ flow, workspace }: { flow: FlowOverview; workspace: string }) {
  const [run] = flow.running;
  if (run) {
    const { step } = run;
    const done = step?.items_total ? (step.items_done ?? 0) / step.items_total : run.steps_done / Math.max(1, run.steps);
    const items = step?.items_total ? ` ${(step.items_done ?? 0).toLocaleString()}/${step.items_total.toLocaleString()}` : "";
    return (
      <Link to={`/w/${workspace}/runs/${run.id}`} className="state-running" title={`${Math.round(100 * done)} %`}>
        <span className="progress" aria-hidden>
          <span style={{ width: `${100 * done}%` }} />
        </span>
        {step ? `${step.label}${items}` : run.status} · <Took from={run.started_at} to={null} />
        {flow.running.length > 1 && ` · and ${flow.running.length - 1} more`}
      </Link>
    );
  }
  if (!flow.last) return flow.status === "ok" ? "never ran" : null;
  return (
    <Link to={`/w/${workspace}/runs/${flow.last.id}`} title={flow.last.summary ?? flow.last.error?.message ?? undefined}>
      {flow.last.status !== "succeeded" && <span className={`state-${flow.last.status}`}>{flow.last.status} </span>}
      <Ago at={flow.last.finished_at ?? flow.last.started_at ?? flow.last.queued_at} />
      {flow.last.started_at && (
        <>
          {" · "}
          <Took from={flow.last.started_at} to={flow.last.finished_at} />
        </>
      )}
    </Link>
  );
}

function Start({ flow, workspace, refusal }: Props) {
  const navigate = useNavigate();
  const start = useRunFlow(workspace, flow.name);
  const act = useAction(workspace);
  const [run] = flow.running;
  if (run?.actions.includes("cancel"))
    return (
      <Button
        size="compact-xs"
        variant="default"
        disabled={refusal !== null}
        title={refusal ?? act.error?.message}
        color={act.error ? "red" : undefined}
        loading={act.isPending}
        aria-label={`Stop ${flow.label}`}
        onClick={() => act.mutate({ run_id: run.id, action: "cancel" })}
      >
        Stop
      </Button>
    );
  if (flow.status === "broken") {
    const { file, line } = flow.error ?? {};
    return file ? (
      <Button
        component={Link}
        to={`/w/${workspace}/editor?path=${encodeURIComponent(file)}${line ? `&line=${line}` : ""}`}
        size="compact-xs"
        variant="light"
        aria-label={`Open ${flow.label}`}
      >
        Open
      </Button>
    ) : null;
  }
  const failed = start.error?.message;
  return (
    <>
      <Button
        size="compact-xs"
        variant="light"
        disabled={refusal !== null}
        loading={start.pending}
        aria-label={`Run ${flow.label}`}
        title={refusal ?? failed ?? start.told ?? undefined}
        color={failed ? "red" : undefined}
        onClick={() =>
          flow.params ? void navigate(`/w/${workspace}/flows/${flow.name}?run`) : start.run(whatIsDue(flow.trigger?.source))
        }
      >
        Run
      </Button>
      <Text size="xs" className={failed ? "state-failed" : "quiet"} role="status">
        {failed ?? (start.told && "nothing is due")}
      </Text>
    </>
  );
}
