import { Button, Menu, Text } from "@mantine/core";
import { IconChevronDown } from "../../parts/icons";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate } from "react-router";
import { api, type Run, take } from "../../api/client";
import { useAction, useRefusal } from "../../api/queries";
import { failure, type Step } from "./queries";

/** So many steps of a long flow are offered in the menu; others are chosen in the timeline. */
const MOST_OFFERED = 12;

/** Exactly what the daemon says is possible: cancel, resume, and retry, also from an earlier step. */
export function Actions({ workspace, run, step }: { workspace: string; run: Run; step: Step | undefined }) {
  const act = useAction(workspace);
  const refusal = useRefusal(workspace);
  const off = { disabled: refusal !== null, title: refusal ?? undefined };
  const may = (action: Run["actions"][number]) => run.actions.includes(action);
  return (
    <div className="run-actions">
      {act.error && (
        <Text size="sm" className="state-failed" role="alert">
          {act.error.message}
        </Text>
      )}
      {may("cancel") && (
        <Button
          size="compact-sm"
          variant="default"
          {...off}
          loading={act.isPending}
          onClick={() => act.mutate({ run_id: run.id, action: "cancel" })}
        >
          Cancel
        </Button>
      )}
      {may("resume") && (
        <Button
          size="compact-sm"
          {...off}
          loading={act.isPending}
          onClick={() => act.mutate({ run_id: run.id, action: "resume" })}
        >
          Resume
        </Button>
      )}
      {may("retry") && <Retry workspace={workspace} run={run} step={step} off={off} />}
    </div>
  );
}

/** Retries where it failed, at the chosen step, or at any earlier one; and leads to the new run. */
function Retry({ workspace, run, step, off }: { workspace: string; run: Run; step: Step | undefined; off: { disabled: boolean; title?: string } }) {
  const navigate = useNavigate();
  const possible = useQuery(failure(workspace, run)).data?.retry_from ?? [];
  const retry = useMutation({
    mutationFn: (from_step: string | null) =>
      take(
        api.POST("/api/v1/workspaces/{workspace}/runs/{run_id}/retry", {
          params: { path: { workspace, run_id: run.id } },
          body: { from_step },
        }),
      ),
    onSuccess: ({ started: [first] }) => first && navigate(`/w/${workspace}/runs/${first}`),
  });
  const last = possible.at(-1);
  const chosen = (step && possible.find((each) => each.name === step.name)) ?? (run.status === "succeeded" ? null : last);
  const pending = (from: string | null) => retry.isPending && retry.variables === from;
  return (
    <>
      {retry.error && (
        <Text size="sm" className="state-failed" role="alert">
          {retry.error.message}
        </Text>
      )}
      <Menu position="bottom-end" shadow="sm" withinPortal>
        <Menu.Target>
          <Button size="compact-sm" variant="default" {...off} loading={retry.isPending && !pending(chosen?.name ?? "")} rightSection={<IconChevronDown size={14} aria-hidden />}>
            Retry
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => retry.mutate(null)}>Retry</Menu.Item>
          {possible.length > 0 && <Menu.Divider />}
          {possible.slice(-MOST_OFFERED).toReversed().map((each) => (
            <Menu.Item key={each.index} onClick={() => retry.mutate(each.name)}>
              Retry from {each.label}
            </Menu.Item>
          ))}
          {possible.length > MOST_OFFERED && (
            <Menu.Label>Choose an earlier step in the timeline to retry from it.</Menu.Label>
          )}
        </Menu.Dropdown>
      </Menu>
      {chosen && (
        <Button size="compact-sm" variant="light" {...off} loading={pending(chosen.name)} onClick={() => retry.mutate(chosen.name)}>
          Retry from {chosen.label}
        </Button>
      )}
    </>
  );
}
