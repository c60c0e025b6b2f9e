import "./editor.css";
import { useQuery } from "@tanstack/react-query";
import { useParams, useSearchParams } from "react-router";
import { Empty, Trouble } from "../../parts/Trouble";
import { Document } from "./Document";
import { sources } from "./queries";
import { Tree } from "./Tree";

/** What people write: flow modules, notebooks, helpers and configuration. */
export default function Editor() {
  const { workspace = "" } = useParams();
  const [address] = useSearchParams();
  const listed = useQuery(sources(workspace));
  const path = address.get("path");
  const line = Number(address.get("line")) || null;
  if (listed.error && !listed.data) return <Trouble error={listed.error} />;
  if (!listed.data) return null;
  const { files, actions, refusal } = listed.data;
  const file = files.find((each) => each.path === path);
  return (
    <div className="editor">
      <Tree workspace={workspace} files={files} chosen={path} actions={actions} />
      <div className="editor-main">
        {refusal && (
          <div className="editor-refused" role="status">
            <strong>Only to be read.</strong> {refusal.message} {refusal.hint}
          </div>
        )}
        {path && (file || !listed.isFetching) ? (
          <Document key={path} workspace={workspace} path={path} line={line} linked={file?.linked ?? false} actions={actions} />
        ) : (
          <section className="panel">
            {files.length > 0 ? (
              <Empty>Choose a file on the left. What you type is checked as you go, and kept until you save it.</Empty>
            ) : (
              <Empty command="flowstead init .">There is nothing to edit yet. Make a flow with New, or a first one with:</Empty>
            )}
          </section>
        )}
      </div>
    </div>
  );
}
