import { Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";
import { State } from "../../parts/State";
import { Ago } from "../../parts/Times";
import { Empty, Trouble } from "../../parts/Trouble";
import { count } from "../../parts/words";
import { pool, type PoolKind, type PoolMember, useFlush } from "./queries";

/** Environments that wait to be taken by Jupyter kernels and the command line, and who has one. */
export function Pool() {
  const { workspace = "" } = useParams();
  const found = useQuery(pool);
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return null;
  const { kinds, members } = found.data;
  const lent = members.filter((each) => each.holder !== null);
  return (
    <section className="panel" aria-label="The pool">
      <h2>
        The pool <span className="quiet">ready to be taken by Jupyter kernels and the command line</span>
      </h2>
      {kinds.every((each) => each.off !== "") && lent.length === 0 ? (
        <Empty command="flowstead jupyter install">
          The pool is off. Say in the <Link to={`/w/${workspace}/settings?find=pool`}>settings</Link> how many environments should wait, and
          add a kernel to Jupyter that takes one:
        </Empty>
      ) : (
        <div className="pool">
          {kinds.map((kind) => (
            <Kind key={kind.kind} workspace={workspace} kind={kind} />
          ))}
        </div>
      )}
      {lent.length > 0 && <Lent members={lent} />}
    </section>
  );
}

function Kind({ workspace, kind }: { workspace: string; kind: PoolKind }) {
  const flush = useFlush();
  const words = kind.error?.detail.words;
  return (
    <section aria-label={`The ${kind.kind} pool`}>
      <header>
        <h3>{kind.kind}</h3>
        {kind.off ? (
          <span className="quiet">off: {kind.off}</span>
        ) : (
          <>
            <Slots kind={kind} />
            <span>
              {kind.ready} of {kind.target} ready
              {kind.warming > 0 && ` · ${kind.warming} warming`}
              {kind.lent > 0 && ` · ${kind.lent} lent`}
            </span>
          </>
        )}
        <span className="grow" />
        {!kind.off && (
          <Button
            size="compact-xs"
            variant="default"
            loading={flush.isPending}
            title="Deletes what is ready and makes it anew; what is lent stays with its holder"
            aria-label={`Make the ${kind.kind} pool anew`}
            onClick={() => flush.mutate(kind.kind)}
          >
            Make anew
          </Button>
        )}
      </header>
      {flush.error && <Trouble error={flush.error} />}
      {!kind.off && (
        <Text size="xs" className="quiet">
          ipykernel{kind.packages.length > 0 && ` and ${kind.packages.join(", ")}`} ·{" "}
          <Link to={`/w/${workspace}/settings?find=pool_${kind.kind}`}>change</Link>
          {kind.progress && ` · ${kind.progress}`}
        </Text>
      )}
      {kind.error && (
        <div role="note" className="pool-error">
          <Text size="sm" className="state-failed" fw={600}>
            <State bare status="failed" /> {kind.package ? `${kind.package}: ` : ""}
            {kind.error.message}
          </Text>
          {kind.base_only && <Text size="sm">Those given out meanwhile lack the packages of the settings.</Text>}
          <Text size="sm">
            {kind.retry_in !== null && `It is tried again in ${wait(kind.retry_in)}, or at once when it is made anew. `}
            {kind.error.hint}
          </Text>
          {typeof words === "string" && (
            <details>
              <summary className="quiet">What the installer said</summary>
              <pre className="mono">{words}</pre>
            </details>
          )}
        </div>
      )}
    </section>
  );
}

const wait = (seconds: number) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);

/** One mark for each that there should be: ready, warming, or missing. */
function Slots({ kind }: { kind: PoolKind }) {
  const marks = Array.from({ length: Math.max(kind.target, kind.ready + kind.warming) }, (_, index) =>
    index < kind.ready ? "ready" : index < kind.ready + kind.warming ? "warming" : "missing",
  );
  return (
    <span className="pool-slots" aria-hidden>
      {marks.map((mark, index) => (
        <span key={index} className={mark} />
      ))}
    </span>
  );
}

function Lent({ members }: { members: PoolMember[] }) {
  return (
    <>
      <h3 className="pool-lent">{count(members.length, "environment")} lent</h3>
      <table className="rows">
        <thead>
          <tr>
            <th>Kind</th>
            <th>Held by</th>
            <th>Where</th>
            <th className="right">Since</th>
          </tr>
        </thead>
        <tbody>
          {members.map((each) => (
            <tr key={each.id}>
              <td>{each.kind}</td>
              <td className="mono">process {each.holder}</td>
              <td className="mono quiet" title={each.path}>
                {each.path}
              </td>
              <td className="quiet right">
                <Ago at={each.lent_at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
