import { Loader } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { Navigate, Route, Routes } from "react-router";
import { workspaces } from "./api/queries";
import { Frame } from "./frame/Frame";
import { Empty, Trouble } from "./parts/Trouble";

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
        <Route index element={<Chosen />} />
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

/** The workspace that was selected, else one that is open, else the first. */
function Chosen() {
  const known = useQuery(workspaces);
  if (known.error) return <Trouble error={known.error} />;
  if (!known.data) return <Loader m="xl" size="sm" />;
  const all = known.data.workspaces;
  const chosen = all.find((each) => each.selected) ?? all.find((each) => each.open) ?? all[0];
  if (!chosen) return <Empty command="flowstead init sales">This machine knows no workspace yet. Make a first one:</Empty>;
  return <Navigate to={`/w/${chosen.workspace}`} replace />;
}

function Nowhere() {
  return <Empty>There is nothing at this address. Home, runs and everything else is on the left.</Empty>;
}
