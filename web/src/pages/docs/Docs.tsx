import "./docs.css";
import { useQueries, useQuery } from "@tanstack/react-query";
import { useCallback, useDeferredValue, useEffect, useMemo, useState } from "react";
import { Link, NavLink, useLocation, useParams, useSearchParams } from "react-router";
import { Markdown } from "../../parts/Markdown";
import { Search } from "../../parts/Search";
import { Empty, Trouble } from "../../parts/Trouble";
import { count } from "../../parts/words";
import { anchors, search } from "./finding";
import { guide, guides } from "./queries";

/** The project's guides: they come with the program, and are read without a network. */
export default function Docs() {
  const { workspace = "", guide: named } = useParams();
  const [address] = useSearchParams();
  const wanted = address.get("find") ?? "";
  const listed = useQuery(guides);
  const name = named ?? listed.data?.guides[0]?.name ?? "";
  if (listed.error) return <Trouble error={listed.error} />;
  return (
    <div className="docs">
      <aside className="docs-guides">
        <Search label="Search the guides" />
        <nav aria-label="Guides">
          <ul>
            {listed.data?.guides.map((each) => (
              <li key={each.name}>
                <NavLink to={`/w/${workspace}/docs/${each.name}`} aria-current={each.name === name ? "page" : undefined}>
                  {each.title}
                </NavLink>
              </li>
            ))}
          </ul>
        </nav>
      </aside>
      {wanted.trim() ? <FoundIn workspace={workspace} wanted={wanted} /> : <Page workspace={workspace} name={name} />}
    </div>
  );
}

function Page({ workspace, name }: { workspace: string; name: string }) {
  const read = useQuery(guide(name));
  const { hash } = useLocation();
  const [shown, setShown] = useState("");
  const text = read.data?.text;
  const lines = useMemo(() => read.data && anchors(read.data), [read.data]);
  const link = useCallback(
    (target: string) => {
      if (target.startsWith("#")) return target;
      const other = /^([\w-]+)\.md(#.*)?$/.exec(target);
      return other ? `/w/${workspace}/docs/${other[1]}${other[2] ?? ""}` : null;
    },
    [workspace],
  );
  const onShown = useCallback(() => setShown(name), [name]);
  useEffect(() => {
    if (shown !== name) return;
    const target = hash && document.getElementById(decodeURIComponent(hash.slice(1)));
    if (target) {
      target.scrollIntoView();
      target.focus({ preventScroll: true });
    } else document.querySelector("main")?.scrollTo(0, 0);
  }, [shown, name, hash]);
  if (read.error) return <Trouble error={read.error} />;
  if (text === undefined || !lines) return <div />;
  return (
    <>
      <article>
        <Markdown key={name} text={text} image={image} link={link} anchors={lines} onShown={onShown} />
      </article>
      <aside className="docs-contents">
        <nav aria-label="On this page">
          <ul>
            {read.data?.headings
              .filter((each) => each.level === 2 || each.level === 3)
              .map((each) => (
                <li key={each.anchor} className={`level-${each.level}`}>
                  <Link to={`#${each.anchor}`}>{each.text}</Link>
                </li>
              ))}
          </ul>
        </nav>
      </aside>
    </>
  );
}

function image(source: string): string | null {
  return source.startsWith("images/") ? `/api/v1/guides/${source}` : null;
}

function FoundIn({ workspace, wanted }: { workspace: string; wanted: string }) {
  const listed = useQuery(guides).data?.guides;
  const texts = useQueries({ queries: (listed ?? []).map((each) => guide(each.name)) });
  const asked = useDeferredValue(wanted);
  const whole = listed !== undefined && texts.every((each) => !each.isPending);
  // Nothing is listed before every guide is here: places that come between others would move those below a pointer.
  const found = whole ? search(texts.flatMap((each) => each.data ?? []), asked) : [];
  return (
    <section aria-label="Found" style={{ gridColumn: "2 / -1" }}>
      <p className="quiet" role="status" style={{ marginTop: 0 }}>
        {whole && (found.length > 0 ? `${count(found.length, "place")} with “${asked}”` : "")}
      </p>
      {whole && found.length === 0 && <Empty>No guide says “{asked}”. Try one word of it.</Empty>}
      <ul className="docs-found panel">
        {found.map((each) => (
          <li key={`${each.guide}#${each.anchor}`}>
            <Link to={`/w/${workspace}/docs/${each.guide}#${each.anchor}`}>
              <strong>{each.heading || each.title}</strong> <span className="quiet">{each.title}</span>
              <br />
              <span className="quiet">
                {each.before}
                <mark>{each.match}</mark>
                {each.after}
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}
