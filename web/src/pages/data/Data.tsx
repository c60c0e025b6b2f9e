import "../../parts/table/table.css";
import "./data.css";
import { useQuery } from "@tanstack/react-query";
import { useParams, useSearchParams } from "react-router";
import { Trouble } from "../../parts/Trouble";
import { Crumbs } from "./Crumbs";
import { Doors } from "./Doors";
import { FileView } from "./FileView";
import { FolderView } from "./FolderView";
import { file } from "./queries";
import { RunView } from "./RunView";

/** The files of the workspace and of its runs: folders, tables, and whatever else can be shown. */
export default function Data() {
  const { workspace = "" } = useParams();
  const [address] = useSearchParams();
  const path = address.get("path") ?? "";
  const run = address.get("run");
  const found = useQuery({ ...file(workspace, path, run), enabled: path !== "" });
  const info = found.data;
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
