import { Loader, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { Link, Navigate, Route, Routes, useLocation, useParams } from "react-router";
import { overview } from "./api/queries";
import { Frame } from "./frame/Frame";
import { addressOf } from "./frame/pages";

const Welcome = lazy(() => import("./pages/welcome/Welcome"));
const Home = lazy(() => import("./pages/home/Home"));
const Flow = lazy(() => import("./pages/flow/Flow"));
const Runs = lazy(() => import("./pages/runs/Runs"));
const Run = lazy(() => import("./pages/run/Run"));
const Data = lazy(() => import("./pages/data/Data"));
const Editor = lazy(() => import("./pages/editor/Editor"));
const Environments = lazy(() => import("./pages/environments/Environments"));
const Activity = lazy(() => import("./pages/activity/Activity"));
const Settings = lazy(() => import("./pages/settings/Settings"));
const Docs = lazy(() => import("./pages/docs/Docs"));

/** Every address of the console, and the page that it shows. */
export function Pages() {
  return (
    <Suspense fallback={<Loader m="xl" size="sm" />}>
      <Routes>
        <Route index element={<Welcome />} />
        <Route path="/w/:workspace" element={<Frame />}>
          <Route index element={<Home />} />
          <Route path="flows/:flow" element={<Flow />} />
          <Route path="runs" element={<Runs />} />
          <Route path="runs/:run" element={<Run />} />
          <Route path="data" element={<Data />} />
          <Route path="editor" element={<Editor />} />
          <Route path="environments" element={<Environments />} />
          <Route path="activity" element={<Activity />} />
          <Route path="settings" element={<Settings />} />
          <Route path="docs" element={<Docs />} />
          <Route path="docs/:guide" element={<Docs />} />
          <Route path="*" element={<Nowhere />} />
        </Route>
        <Route path="*" element={<Navigate to="/" replace />} />
      </Routes>
    </Suspense>
  );
}

/** An address that leads nowhere: what its last part may have meant, and where people mostly want to go. */
function Nowhere() {
  const { workspace = "" } = useParams();
  const { pathname } = useLocation();
  const asked = pathname.split("/").at(-1) ?? "";
  const known = useQuery(overview(workspace)).data?.flows ?? [];
  const meant = known.filter(({ name }) => asked !== "" && (name.includes(asked) || asked.includes(name))).slice(0, 1);
  const places: [string, string][] = [
    ...meant.map(({ name, label }): [string, string] => [`flows/${name}`, `the flow ${label}`]),
    ["", "Home, with all flows"],
    ["runs", "Runs, with all that ran"],
    ["docs", "Docs, with the guides"],
  ];
  return (
    <section className="panel" style={{ padding: 24, maxWidth: 560 }}>
      <Title order={1}>There is nothing at this address</Title>
      <p className="quiet mono">{pathname}</p>
      <p>You may have been looking for:</p>
      <ul>
        {places.slice(0, 3).map(([path, what]) => (
          <li key={path}>
            <Link to={addressOf(workspace, path)}>{what}</Link>
          </li>
        ))}
      </ul>
    </section>
  );
}
