import { Button } from "@mantine/core";
import { Link, useNavigate } from "react-router";
import type { Overview, Shape } from "../../api/client";
import { useAction, useRefusal } from "../../api/queries";
import { State } from "../../parts/State";
import { Ago } from "../../parts/Times";
import { said } from "../../parts/words";

type Need = Shape["Need"];

const SAID = { broken: "cannot be read", failed: "failed", interrupted: "was interrupted" } as const;
const VERBS = { retry: "Retry", resume: "Resume" } as const;

/** What waits for a person: each with what is wrong, and what can be done from here. */
export function NeedsYou({ workspace, overview: { needs_you, needs_total } }: { workspace: string; overview: Overview }) {
  return (
    <section className="panel" aria-label="Needs you">
      <h2>Needs you ({needs_total})</h2>
      <table className="rows needs">
        <tbody>
          {needs_you.map((need) => (
            <tr key={`${need.kind} ${need.run ?? need.flow}`}>
              <td>
                <State bare status={need.kind} />
              </td>
              <td>
                <Link to={`/w/${workspace}/${need.run ? `runs/${need.run}` : `flows/${need.flow}`}`}>
                  <strong>{need.label}</strong> {SAID[need.kind]}
                </Link>
              </td>
              <td className="quiet" title={[need.error?.message, need.error?.hint].filter(Boolean).join("\n")}>
                <Where error={need.error} /> {need.error && said(need.error)}
                {need.error?.hint && ` · ${need.error.hint}`}
              </td>
              <td className="quiet right">
                <Ago at={need.at} />
              </td>
              <td className="right">
                <Offers workspace={workspace} need={need} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Where({ error }: { error: Need["error"] }) {
  if (!error?.file) return null;
  return (
    <span className="mono">
      {error.file}
      {error.line ? `:${error.line}` : ""}
    </span>
  );
}

function Offers({ workspace, need }: { workspace: string; need: Need }) {
  const act = useAction(workspace);
  const refusal = useRefusal(workspace);
  const navigate = useNavigate();
  if (need.kind === "broken" && need.error?.file)
    return (
      <Button
        component={Link}
        to={`/w/${workspace}/editor?path=${encodeURIComponent(need.error.file)}${need.error.line ? `&line=${need.error.line}` : ""}`}
        size="compact-xs"
        variant="light"
      >
        Open
      </Button>
    );
  const { run } = need;
  if (!run) return null;
  return need.actions
    .filter((action): action is "retry" | "resume" => action in VERBS)
    .map((action) => (
      <Button
        key={action}
        size="compact-xs"
        variant="light"
        ml={4}
        color={act.error ? "red" : undefined}
        disabled={refusal !== null}
        title={refusal ?? act.error?.message}
        loading={act.isPending}
        aria-label={`${VERBS[action]} ${need.label}`}
        onClick={() =>
          act.mutate({ run_id: run, action }, { onSuccess: ({ started }) => navigate(`/w/${workspace}/runs/${started?.[0] ?? run}`) })
        }
      >
        {VERBS[action]}
      </Button>
    ));
}
