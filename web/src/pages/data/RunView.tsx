import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { run as oneRun } from "../../api/queries";
import { useAddress } from "../../parts/address";
import { TablePreview } from "../../parts/TablePreview";
import { Empty, Trouble } from "../../parts/Trouble";
import { FolderView } from "./FolderView";
import { dataAt, runTables } from "./queries";
import { SqlBox } from "./SqlBox";

/** What a run has left: its tables, what else it kept, and its folder. */
export function RunView({ workspace, run }: { workspace: string; run: string }) {
  const { address, put } = useAddress();
  const details = useQuery(oneRun(workspace, run));
  const found = useQuery(runTables(workspace, run));
  if (found.error) return <Trouble error={found.error} />;
  const tables = found.data?.tables ?? [];
  const steps = details.data?.steps ?? [];
  const others = details.data?.artifacts.filter((artifact) => !tables.some((table) => table.artifact === artifact.name)) ?? [];
  const withSql = address.has("sql");
  const turn = () => put({ sql: withSql ? null : "" }, { replace: false });
  return (
    <div className={withSql ? "data-asked" : "data-run"}>
      <div className="table-bar">
        <Link to={`/w/${workspace}/runs/${run}`}>See the run</Link>
        <span className="quiet">{details.data?.summary}</span>
        <span className="grow" />
        {tables.length > 0 && (
          <Button size="compact-sm" variant={withSql ? "light" : "default"} aria-pressed={withSql} onClick={turn}>
            SQL
          </Button>
        )}
      </div>
      {withSql ? (
        <SqlBox workspace={workspace} source={null} run={run} columns={[]} />
      ) : (
        <>
          {tables.map((table) => {
            const artifact = details.data?.artifacts.find((each) => each.name === table.artifact);
            const step = steps.find((each) => each.index === (table.step ?? artifact?.step));
            return (
              <section className="panel" key={table.name} aria-label={table.name}>
                <h2 className="data-title">
                  <Link to={dataAt(workspace, artifact ? artifact.path : table.path, artifact ? run : null)}>{table.name}</Link>
                  <span className="quiet">
                    {artifact ? "kept" : "given out"} by {step?.label ?? "the run"}
                  </span>
                </h2>
                <TablePreview workspace={workspace} source={artifact ? { run_id: run, artifact: artifact.name } : { path: table.path }} rows={5} />
              </section>
            );
          })}
          {others.length > 0 && (
            <section className="panel" aria-label="Also kept">
              <h2>Also kept</h2>
              <ul className="data-kept">
                {others.map((artifact) => (
                  <li key={artifact.name}>
                    <Link to={dataAt(workspace, artifact.path, run)}>{artifact.name}</Link> <span className="quiet">{artifact.kind}</span>
                  </li>
                ))}
              </ul>
            </section>
          )}
          {found.data && tables.length === 0 && others.length === 0 && <Empty>This run left no table, picture or text. Below is its own folder.</Empty>}
          <div className="data-below">
            <FolderView workspace={workspace} path="" run={run} />
          </div>
        </>
      )}
    </div>
  );
}
