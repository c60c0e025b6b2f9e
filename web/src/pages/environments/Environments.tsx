import "./environments.css";
import { Button, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useParams, useSearchParams } from "react-router";
import { Ago } from "../../parts/Times";
import { Empty, Trouble } from "../../parts/Trouble";
import { bytes, count } from "../../parts/words";
import { Collect } from "./Collect";
import { Details } from "./Details";
import { Pool } from "./Pool";
import { type Environment, environments, pool, wanted } from "./queries";
import { Readiness } from "./Readiness";

/** What flows run in, as it is kept on this machine, and what waits to be taken by kernels. */
export default function Environments() {
  const { workspace = "" } = useParams();
  const [address] = useSearchParams();
  const [collecting, setCollecting] = useState(false);
  const listed = useQuery(environments);
  const uses = useQuery(wanted(workspace)).data?.flows ?? [];
  const pooled = useQuery(pool).data?.kinds ?? [];
  if (listed.error && !listed.data) return <Trouble error={listed.error} />;
  if (!listed.data) return null;
  const rows = listed.data.environments;
  const chosen = rows.find((each) => each.digest === address.get("environment"));
  const unsaid = uses.filter((each) => each.error);
  const usersOf = (row: Environment) => ({
    flows: uses.filter((each) => each.digest === row.digest).map((each) => each.flow),
    // The template of a pool that cannot be built has no digest there; only pools are declared by the settings.
    pools: row.manifest.file === "settings.toml" ? [row.provider] : pooled.filter((each) => each.digest === row.digest).map((each) => each.kind),
  });
  return (
    <div className="environments">
      <header>
        <Title order={1}>Environments</Title>
        <Text size="sm" className="quiet" title={listed.data.folder}>
          {count(rows.length, "environment")}, {bytes(listed.data.size)} on this machine
        </Text>
        <span className="grow" />
        <Button size="compact-sm" variant="default" disabled={rows.length === 0} onClick={() => setCollecting(true)}>
          Tidy up…
        </Button>
      </header>
      {unsaid.map((each) => (
        <div key={each.flow} className="panel environments-unsaid" role="note">
          <strong>{each.flow}</strong>: {each.error?.message} <span className="quiet">{each.error?.hint}</span>
        </div>
      ))}
      <div className={chosen ? "environments-columns" : undefined}>
        <section className="panel" aria-label="All environments">
          {rows.length === 0 ? (
            <Empty command={'# /// script\n# dependencies = ["polars>=1"]\n# ///'}>
              No environment was built yet: flows here run in the interpreter that runs Flowstead. Say what a flow needs at the top of
              its module, and it gets its own when it runs:
            </Empty>
          ) : (
            <table className="rows">
              <thead>
                <tr>
                  <th>State</th>
                  <th>Used by</th>
                  {!chosen && <th>Declared in</th>}
                  <th>Python</th>
                  {!chosen && <th className="right">Packages</th>}
                  <th className="right">Size</th>
                  {!chosen && <th className="right">Last used</th>}
                </tr>
              </thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row.digest} data-chosen={row === chosen || undefined}>
                    <td>
                      <Readiness environment={row} />
                    </td>
                    <td>
                      <Link to={row === chosen ? "?" : `?environment=${row.digest}`} aria-current={row === chosen || undefined}>
                        {named(row, usersOf(row))}
                      </Link>
                      {row.pinned && <span className="quiet"> · pinned</span>}
                    </td>
                    {!chosen && (
                      <td className="mono quiet" title={String(row.manifest.why ?? "")}>
                        {String(row.manifest.file ?? "")}
                      </td>
                    )}
                    <td className="mono">
                      {row.provider} {row.python}
                    </td>
                    {!chosen && <td className="mono right">{row.packages.length || ""}</td>}
                    <td className="mono right">{row.size === null ? "" : bytes(row.size)}</td>
                    {!chosen && (
                      <td className="quiet right">
                        <Ago at={row.last_used} />
                      </td>
                    )}
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </section>
        {chosen && <Details key={chosen.digest} workspace={workspace} environment={chosen} users={usersOf(chosen)} />}
      </div>
      <Pool />
      {collecting && <Collect rows={rows} name={(row) => named(row, usersOf(row))} onClose={() => setCollecting(false)} />}
    </div>
  );
}

/** What people know an environment by: who runs in it, else what it was asked to hold. */
function named(row: Environment, { flows, pools }: { flows: string[]; pools: string[] }): string {
  const users = [...flows, ...pools.map((kind) => `the ${kind} pool`)];
  if (users.length > 0) return users.length > 3 ? `${users.slice(0, 3).join(", ")} and ${users.length - 3} more` : users.join(", ");
  const asked = ((row.manifest.requirements as [string, boolean][] | undefined) ?? []).map(([text]) => text);
  return asked.length > 0 ? `nobody here (${asked.slice(0, 3).join(", ")}${asked.length > 3 ? ", …" : ""})` : "nobody here";
}
