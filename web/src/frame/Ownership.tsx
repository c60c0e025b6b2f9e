import { Button, Group, List, Loader, Modal, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, type Shape } from "../api/client";
import { activeRuns, standing, useOwnership, type OwnershipAction } from "../api/queries";
import { Trouble } from "../parts/Trouble";
import { duration, shortId } from "../parts/words";

type Standing = Shape["Standing"];

/** Who owns a workspace and how fresh that is, in a few words. */
export function inShort({ state, owner, handing_over_to }: Standing): string {
  // Whole seconds: it is told anew every few of them.
  const silent = duration(Math.max(1, Math.round(owner?.unchanged_seconds ?? 0)) * 1000).replace(".0 s", " s");
  if (handing_over_to) return `handing over to ${handing_over_to}`;
  switch (state) {
    case "mine":
      return `owned here · renewed ${silent} ago`;
    case "owned":
      return `watching · owned by ${owner?.host ?? "another machine"} · renewed ${silent} ago`;
    case "stale":
      return `owner ${owner?.host ?? ""} silent for ${silent}`;
    case "free":
      return "owned by nobody · the next run takes it";
    case "damaged":
      return "its claim is damaged";
    default:
      return "cannot be reached";
  }
}

const TONES: Record<string, string> = { mine: "state-succeeded", owned: "state-running", stale: "state-waiting", free: "quiet" };

const OFFERS: Record<OwnershipAction, { verb: string; asks: boolean }> = {
  "request-control": { verb: "Request control", asks: false },
  "withdraw-request": { verb: "Withdraw request", asks: false },
  release: { verb: "Release", asks: true },
  takeover: { verb: "Take over", asks: true },
};

/** Who owns the workspace, and what can be done about it: just what `actions` says. */
export function Ownership({ workspace }: { workspace: string }) {
  const found = useQuery(standing(workspace)).data;
  const act = useOwnership(workspace);
  const [asking, setAsking] = useState<OwnershipAction | null>(null);
  if (!found) return null;
  const request = found.request;
  return (
    <>
      <span className="owner" title={found.message}>
        <span className={TONES[found.state] ?? "state-failed"} aria-hidden>
          ●
        </span>{" "}
        {inShort(found)}
        {request && !request.mine && ` · ${request.host} asks for it`}
        {request?.mine && found.state === "owned" && " · asked for control"}
      </span>
      {found.actions.map((action) => {
        const offer = OFFERS[action as OwnershipAction];
        if (!offer) return null;
        return (
          <Button
            key={action}
            size="compact-xs"
            variant={action === "takeover" ? "light" : "default"}
            loading={act.isPending}
            onClick={() => (offer.asks ? setAsking(action as OwnershipAction) : act.mutate(action as OwnershipAction))}
          >
            {offer.verb}
          </Button>
        );
      })}
      {act.error && asking === null && (
        <Text size="xs" className="state-failed" role="alert" title={act.error instanceof ApiError ? act.error.hint : ""}>
          {act.error.message}
        </Text>
      )}
      <Modal
        opened={asking !== null}
        onClose={() => setAsking(null)}
        title={asking === "takeover" ? `Take over ${found.name}?` : `Release ${found.name}?`}
       
      >
        {asking && (
          <Consequences
            workspace={workspace}
            standing={found}
            action={asking}
            pending={act.isPending}
            error={act.error}
            onClose={() => setAsking(null)}
            onSure={() => act.mutate(asking, { onSuccess: () => setAsking(null) })}
          />
        )}
      </Modal>
    </>
  );
}

interface Asked {
  workspace: string;
  standing: Standing;
  action: OwnershipAction;
  pending: boolean;
  error: Error | null;
  onClose: () => void;
  onSure: () => void;
}

/** What a change of owner does to what runs, before it is done. */
function Consequences({ workspace, standing, action, pending, error, onClose, onSure }: Asked) {
  const open = useQuery(activeRuns(workspace));
  const owner = standing.owner?.host ?? "the owner";
  const rows = open.data?.runs ?? [];
  return (
    <>
      <Text size="sm">
        {action === "takeover"
          ? `${owner} has given no sign of life for ${duration((standing.owner?.unchanged_seconds ?? 0) * 1000)}. Everything it has published stays on record. Should it come back, it notices, ends its workers, and watches.`
          : "This machine starts nothing more here. Another machine, or the next run on any of them, takes the workspace."}
      </Text>
      {open.isPending && <Loader size="sm" mt="md" />}
      {open.data && (
        <Text size="sm" mt="md">
          {rows.length === 0
            ? "Nothing is under way."
            : action === "takeover"
              ? "These runs are interrupted. They can be resumed here from their last finished step:"
              : "These runs may finish first, within the grace:"}
        </Text>
      )}
      <List size="sm" mt={4}>
        {rows.slice(0, 8).map((run) => (
          <List.Item key={run.id}>
            {run.flow} <span className="mono quiet">{shortId(run.id)}</span> · {run.status}
          </List.Item>
        ))}
        {rows.length > 8 && <List.Item>and {open.data?.next ? "many" : rows.length - 8} more</List.Item>}
      </List>
      {error && <Trouble error={error} />}
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose} data-autofocus>
          Cancel
        </Button>
        <Button color={action === "takeover" ? "red" : undefined} loading={pending} onClick={onSure}>
          {OFFERS[action].verb}
        </Button>
      </Group>
    </>
  );
}
