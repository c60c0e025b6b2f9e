import { useQuery } from "@tanstack/react-query";
import { Suspense, useEffect, useRef } from "react";
import { NavLink, Outlet, useLocation, useParams } from "react-router";
import { type Standing, useStanding } from "../api/live";
import { useLive, workspaces } from "../api/queries";
import icon from "../icon.svg";
import { Foot } from "./Foot";
import "./frame.css";
import { Keys } from "./Keys";
import { addressOf, PAGES } from "./pages";
import { Top } from "./Top";

/** What surrounds every page: where you are, who owns it, and whether all of it is live. */
export function Frame() {
  const { workspace = "" } = useParams();
  const { pathname } = useLocation();
  const main = useRef<HTMLElement>(null);
  const live = useStanding(workspace);
  const name = useQuery(workspaces).data?.workspaces.find((each) => each.workspace === workspace)?.name;
  useLive(workspace);
  useEffect(() => {
    main.current?.scrollTo(0, 0);
  }, [pathname]);
  const [, , , at = ""] = pathname.split("/");
  return (
    <div className="frame">
      <title>{[PAGES.find((page) => page.path === at)?.name, name, "Flowstead"].filter(Boolean).join(" · ")}</title>
      <a className="skip" href="#page" onClick={() => main.current?.focus()}>
        Skip to the page
      </a>
      <nav className="nav" aria-label="Pages">
        <div className="brand">
          <img src={icon} alt="" /> <span>Flowstead</span>
        </div>
        {PAGES.map(({ path, name, Glyph }) => (
          <NavLink key={path} to={addressOf(workspace, path)} end={path === ""} title={name}>
            <Glyph size={16} stroke={1.75} aria-hidden /> <span>{name}</span>
          </NavLink>
        ))}
      </nav>
      <Top workspace={workspace} />
      <main id="page" ref={main} className="page" tabIndex={-1} data-standing={live}>
        <Away standing={live} />
        <Suspense>
          <Outlet />
        </Suspense>
      </main>
      <Foot workspace={workspace} />
      <Keys workspace={workspace} />
    </div>
  );
}

function Away({ standing }: { standing: Standing }) {
  if (standing === "away")
    return (
      <div className="away" role="status">
        The daemon is away. What you see is as it was, and comes back by itself. To start it: <code>flowstead daemon start</code>
      </div>
    );
  if (standing === "signed-out")
    return (
      <div className="away" role="alert">
        This browser is no longer signed in. Open the console anew with <code>flowstead web</code>
      </div>
    );
  return null;
}
