import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { Link } from "react-router";
import { useRefusal } from "../../api/queries";
import { count, shortId } from "../../parts/words";
import type { Filters } from "./filters";
import { act, idsOf, type Outcome } from "./queries";
import type { Chosen } from "./RunTable";

interface BatchProps {
  workspace: string;
  filters: Filters;
  cursor: number;
  chosen: Chosen;
  /** How many there are, in words. */
  total: string;
  onDone: () => void;
}

const DOES = { cancel: "Cancel", retry: "Retry" } as const;
const DID = { cancel: "cancelled", retry: "started again" } as const;

/** What may be done with the chosen runs, and what came of it. */
export function Batch({ workspace, filters, cursor, chosen, total, onDone }: BatchProps) {
  const work = useMutation({
    mutationFn: async (action: "cancel" | "retry") => {
      const ids =
        chosen === "all"
          ? await idsOf(workspace, filters, cursor, action)
          : [...chosen.values()].filter((run) => run.actions.includes(action)).map((run) => run.id);
      return { action, ...(await act(workspace, action, ids)) };
    },
    onSuccess: onDone,
  });
  const refusal = useRefusal(workspace);
  const some = chosen === "all" || chosen.size > 0;
  const able = (action: "cancel" | "retry") =>
    chosen === "all" ? null : [...chosen.values()].filter((run) => run.actions.includes(action)).length;
  return (
    <div className="runs-batch">
      {some ? (
        <>
          <strong>{chosen === "all" ? `All ${total} chosen` : `${count(chosen.size, "run")} chosen`}</strong>
          {(["cancel", "retry"] as const).map((action) => {
            const number = able(action);
            if (number === 0) return null;
            return (
              <Button
                key={action} size="compact-xs" variant={action === "retry" ? "light" : "default"}
                loading={work.isPending && work.variables === action} disabled={work.isPending || refusal !== null}
                title={refusal ?? undefined} onClick={() => work.mutate(action)}
              >
                {DOES[action]} {number ?? (action === "cancel" ? "those still open" : "those that can be")}
              </Button>
            );
          })}
          {able("cancel") === 0 && able("retry") === 0 && <span className="quiet">Nothing can be done with them now.</span>}
          <Button size="compact-xs" variant="subtle" color="gray" onClick={onDone}>
            Choose none
          </Button>
        </>
      ) : (
        <span className="quiet">{total}</span>
      )}
      <span className="grow" />
      <span role="status" className="runs-outcome">
        {work.error && <span className="state-failed">{work.error.message}</span>}
        {work.data && <Came workspace={workspace} outcome={work.data} did={DID[work.data.action]} />}
      </span>
    </div>
  );
}

function Came({ workspace, outcome, did }: { workspace: string; outcome: Outcome; did: string }) {
  const [first, ...more] = outcome.refused;
  if (outcome.done === 0 && !first) return <>There was none with which this can be done.</>;
  return (
    <>
      {outcome.done > 0 && `${count(outcome.done, "run")} ${did}. `}
      {first && (
        <span className="state-failed" title={outcome.refused.map((each) => `${shortId(each.id)}: ${each.reason}`).join("\n")}>
          <Link to={`/w/${workspace}/runs/${first.id}`}>{shortId(first.id)}</Link>: {first.reason}
          {more.length > 0 && ` And ${more.length} more.`}
        </span>
      )}
    </>
  );
}
