import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { Ago } from "../../parts/Times";
import { Trouble } from "../../parts/Trouble";
import { BuildState, Prepare } from "./Build";
import { environment } from "./queries";

/** What the flow runs in, which file decided that, and why. */
export function Environment({ workspace, name }: { workspace: string; name: string }) {
  const found = useQuery(environment(workspace, name));
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return null;
  const { file, why, considered, provider, requires_python, requirements, digest, environment: built } = found.data;
  return (
    <div className="flow-environment">
      <section className="panel" aria-label="Environment">
        <h2>What it runs in</h2>
        <dl className="facts-list">
          <div>
            <dt>Decided by</dt>
            <dd className={file ? "mono" : ""}>{file ?? "nothing: it runs in Flowstead’s own interpreter"}</dd>
          </div>
          <div>
            <dt>Why</dt>
            <dd>{why}</dd>
          </div>
          {provider && (
            <div>
              <dt>Made with</dt>
              <dd>
                {provider}
                {requires_python ? `, Python ${requires_python}` : ""}
              </dd>
            </div>
          )}
          {digest && (
            <div>
              <dt>State</dt>
              <dd>
                {built ? <BuildState built={built} /> : <span>not built yet; the first run builds it</span>}
                {built?.state !== "ready" && <Prepare workspace={workspace} name={name} failed={built?.state === "failed"} />}
              </dd>
            </div>
          )}
          {built?.state === "ready" && (
            <div>
              <dt>Holds</dt>
              <dd>
                {built.packages.length} packages{built.python ? `, Python ${built.python}` : ""}, made <Ago at={built.created} />,{" "}
                <Link to={`/w/${workspace}/environments`}>among the environments</Link>
              </dd>
            </div>
          )}
        </dl>
        {considered.length > 0 && (
          <>
            <h2>What was looked at</h2>
            <table className="rows considered">
              <tbody>
                {considered.map((each) => (
                  <tr key={each.file}>
                    <td className="mono">{each.file}</td>
                    <td className="quiet">{each.verdict}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </>
        )}
      </section>
      {requirements.length > 0 && (
        <section className="panel" aria-label="Requirements">
          <h2>What it asks for ({requirements.length})</h2>
          <table className="rows">
            <tbody>
              {requirements.map((each) => (
                <tr key={each.text + each.file + each.line}>
                  <td className="mono">{each.text}</td>
                  <td className="mono quiet right">
                    <Link to={`/w/${workspace}/editor?path=${encodeURIComponent(each.file)}${each.line ? `&line=${each.line}` : ""}`}>
                      {each.file}
                      {each.line ? `:${each.line}` : ""}
                    </Link>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </div>
  );
}
