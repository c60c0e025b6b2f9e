import { NativeSelect } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import type { Shape } from "../../api/client";
import { useAddress } from "../../parts/address";
import { CodeDiff } from "../../parts/code/CodeDiff";
import { CodeView } from "../../parts/code/CodeView";
import { Ago } from "../../parts/Times";
import { Empty, Trouble } from "../../parts/Trouble";
import { count } from "../../parts/words";
import { flowText, versions, versionTexts } from "./queries";

/** What the flow's module said over time, how many runs each version had, and what changed from one to another. */
export function Versions({ workspace, flow }: { workspace: string; flow: Shape["FlowDetails"] }) {
  const { name } = flow;
  const { address, put } = useAddress();
  const found = useQuery(versions(workspace, name));
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return null;
  const { versions: all, runs_exact } = found.data;
  if (all.length === 0)
    return (
      <section className="panel">
        <Empty>No version of this flow could be read yet. One is kept as soon as its module can be described.</Empty>
      </section>
    );
  const at = Math.max(0, all.findIndex((each) => each.digest === address.get("version")));
  const chosen = all[at];
  const others = all.filter((each) => each !== chosen);
  const other = others.find((each) => each.digest === address.get("with")) ?? all[at + 1] ?? others[0];
  if (!chosen) return null;
  return (
    <div className="versions">
      <section className="panel" aria-label="Versions">
        <h2>{count(all.length, "version")}</h2>
        <div role="radiogroup" aria-label="Version">
          {all.map((each) => (
            <label key={each.digest} className="version" data-chosen={each === chosen || undefined}>
              <input type="radio" name="version" checked={each === chosen} onChange={() => put({ version: each.digest, with: null })} />
              <span className="mono">{short(each.digest)}</span>
              <span className="quiet">{each.current ? "as it is now" : each.first_run_at ? <Ago at={each.first_run_at} /> : ""}</span>
              <span className="right">{each.runs === 0 ? <span className="quiet">not run yet</span> : `${count(each.runs, "run")}${runs_exact ? "" : " lately"}`}</span>
            </label>
          ))}
        </div>
      </section>
      <section className="panel" aria-label="Changes">
        <div className="panel-head">
          <h2>
            {other ? "What changed to " : "What it says: "}
            <span className="mono">{short(chosen.digest)}</span>
          </h2>
          {other && (
            <NativeSelect
              size="xs"
              aria-label="Compared with"
              value={other.digest}
              onChange={(event) => put({ with: event.currentTarget.value })}
              data={others.map((each) => ({ value: each.digest, label: `from ${short(each.digest)}${each.current ? ", as it is now" : ""}` }))}
            />
          )}
        </div>
        <Changes workspace={workspace} flow={flow} before={other ?? null} after={chosen} />
      </section>
    </div>
  );
}

const short = (digest: string) => digest.slice(0, 10);

interface ChangesProps {
  workspace: string;
  flow: Shape["FlowDetails"];
  before: Shape["VersionUse"] | null;
  after: Shape["VersionUse"];
}

/** The files that differ between two versions; all files where there is nothing to compare with. */
function Changes({ workspace, flow, before, after }: ChangesProps) {
  const [new_, old] = useQueries({
    queries: [after, ...(before ? [before] : [])].map((each) =>
      // The one that cannot be read is not kept: it is what the module says now.
      each.current && !each.stored ? flowText(workspace, flow) : versionTexts(workspace, flow.name, each.digest),
    ),
  });
  const error = new_?.error ?? old?.error;
  if (error) return <Trouble error={error} />;
  if (!new_?.data || (before && !old?.data)) return null;
  const texts = new Map(new_.data.texts.map((each) => [each.file, each]));
  const known = new Map(old?.data?.texts.map((each) => [each.file, each]));
  const files = [...new Set([...texts.keys(), ...known.keys()])];
  const differing = before ? files.filter((file) => texts.get(file)?.text !== known.get(file)?.text) : files;
  if (differing.length === 0) return <Empty>Their texts are the same: what differs is the environment or the plan’s surroundings.</Empty>;
  return (
    <>
      {differing.map((file) => {
        const now = texts.get(file);
        const then = known.get(file);
        const cut = now?.cut || then?.cut;
        return (
          <div key={file} className="changed-file">
            <h3 className="mono">
              {file}
              {before && !then && <span className="quiet"> new</span>}
              {!now && <span className="quiet"> gone</span>}
              {cut && <span className="quiet"> only its first megabyte</span>}
            </h3>
            {before ? (
              <CodeDiff
                before={then?.text ?? ""}
                after={now?.text ?? ""}
                language="python"
                beforeLabel={`${file} in ${short(before.digest)}`}
                afterLabel={`${file} in ${short(after.digest)}`}
              />
            ) : (
              <CodeView text={now?.text ?? ""} language="python" label={file} />
            )}
          </div>
        );
      })}
    </>
  );
}
