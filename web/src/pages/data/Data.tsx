import "../../parts/table/table.css";
import "./data.css";
import { useQuery } from "@tanstack/react-query";
import { useParams, useSearchParams } from "react-router";
import { tablePage } from "../../parts/table/tables";
import { Trouble } from "../../parts/Trouble";
import { useSelection } from "./chosen";
import { Crumbs } from "./Crumbs";
import { Doors } from "./Doors";
import { FileView } from "./FileView";
import { FolderView } from "./FolderView";
import { file } from "./queries";
import { RunView } from "./RunView";

const ONE_TABLE = /\.(parquet|csv|tsv|arrow|feather)$/i;

/** The files of the workspace and of its runs: folders, tables, and whatever else can be shown. */
export default function Data() {
  const { workspace = "" } = useParams();
  const [address] = useSearchParams();
  const path = address.get("path") ?? "";
  const run = address.get("run");
  const found = useQuery({ ...file(workspace, path, run), enabled: path !== "" });
  const info = found.data;
  // A file that is one table is read for its first rows while it is still asked what it is.
  const { selection } = useSelection();
  const source = { path, ...(run ? { run_id: run } : {}) };
  useQuery({ ...tablePage(workspace, source, selection, 0), enabled: ONE_TABLE.test(path) });
  return (
    <div className="data">
      <Crumbs workspace={workspace} path={path} run={run} />
      {path === "" && run ? (
        <RunView workspace={workspace} run={run} />
      ) : found.error && path !== "" ? (
        <Trouble error={found.error} />
      ) : path === "" || info?.kind === "folder" ? (
        <div className={path === "" ? "data-home" : "data-folder"}>
          <FolderView key={path} workspace={workspace} path={path} run={run} />
          {path === "" && <Doors workspace={workspace} />}
        </div>
      ) : info ? (
        <FileView key={`${path} ${run}`} workspace={workspace} path={path} run={run} info={info} />
      ) : (
        <div aria-busy />
      )}
    </div>
  );
}
