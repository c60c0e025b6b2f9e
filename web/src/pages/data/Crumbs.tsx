import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { middle, shortId } from "../../parts/words";
import { dataAt, folder } from "./queries";

interface Crumb {
  name: string;
  to: string | null;
}

/** Where in the workspace, or in what a run left, one is; each part leads there. */
export function Crumbs({ workspace, path, run }: { workspace: string; path: string; run: string | null }) {
  const sources = useQuery({ ...folder(workspace, "", null), enabled: isOutside(path) }).data?.sources ?? [];
  const crumbs = crumbsOf(workspace, path, run, sources);
  return (
    <nav aria-label="Where" className="crumbs" title={path || undefined}>
      <ol>
        {crumbs.map((crumb, index) => (
          <li key={`${index} ${crumb.name}`}>
            {index === crumbs.length - 1 ? (
              <h1 aria-current="page">{middle(crumb.name, 48)}</h1>
            ) : crumb.to ? (
              <Link to={crumb.to}>{middle(crumb.name, 32)}</Link>
            ) : (
              middle(crumb.name, 32)
            )}
          </li>
        ))}
      </ol>
    </nav>
  );
}

function crumbsOf(workspace: string, path: string, run: string | null, sources: string[]): Crumb[] {
  const home = { name: "Data", to: dataAt(workspace, "") };
  // What a run left lies in a folder of its own, wherever that is.
  const [, owner = run, below = path] = /\/runs\/(r_[0-9a-f]+)\/?(.*)$/.exec(path) ?? [];
  if (owner) {
    const above = path.slice(0, path.length - below.length);
    return [home, { name: `Run ${shortId(owner)}`, to: dataAt(workspace, "", owner) }, ...parts(below, (part) => dataAt(workspace, above + part, above ? null : owner))];
  }
  if (!isOutside(path)) return [home, ...parts(path, (part) => dataAt(workspace, part))];
  const source = sources.filter((each) => path === each || path.startsWith(`${each}/`)).sort((one, other) => other.length - one.length)[0];
  const root = source ?? path.slice(0, path.lastIndexOf("/"));
  return [
    home,
    { name: root.split("/").slice(-2).join("/"), to: source ? dataAt(workspace, root) : null },
    ...parts(path.slice(root.length + 1), (part) => (source ? dataAt(workspace, `${root}/${part}`) : null)),
  ];
}

/** Whether it is none of the workspace's own, but of a folder that flows read. */
const isOutside = (path: string): boolean => path.startsWith("/") || /^[A-Za-z]:\//.test(path);

const parts = (path: string, to: (part: string) => string | null): Crumb[] =>
  path.split("/").filter(Boolean).map((name, index, names) => ({ name, to: to(names.slice(0, index + 1).join("/")) }));
