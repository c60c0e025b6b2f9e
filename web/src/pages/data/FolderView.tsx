import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { useAddress } from "../../parts/address";
import { FilterBox } from "../../parts/FilterBox";
import { Empty, Trouble } from "../../parts/Trouble";
import { count } from "../../parts/words";
import { FileList } from "./FileList";
import { dataAt, type Entry, folder, MOST_ENTRIES } from "./queries";

/** What is in a folder, filtered by name as the address says. */
export function FolderView({ workspace, path, run }: { workspace: string; path: string; run: string | null }) {
  const { address, put } = useAddress();
  const found = useQuery(folder(workspace, path, run));
  const wanted = address.get("name") ?? "";
  const entries = useMemo(() => {
    const lower = wanted.toLowerCase();
    return (found.data?.entries ?? []).filter((entry) => entry.name.toLowerCase().includes(lower));
  }, [found.data, wanted]);
  const type = (name: string) => put({ name: name || null });
  const to = (entry: Entry) => (entry.kind === "special" || entry.kind === "link" ? null : dataAt(workspace, entry.path));
  const up = path === "" ? null : dataAt(workspace, path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
  if (found.error) return <Trouble error={found.error} />;
  return (
    <section className="panel files-panel" aria-label="Files" aria-busy={found.isPending}>
      <div className="table-bar">
        <FilterBox label="Filter by name" placeholder="Filter by name" width={220} list=".files" text={wanted} onChange={type} />
        <span className="quiet" role="status">
          {found.data && (wanted ? `${count(entries.length, "entry", "entries")} of ${found.data.entries.length.toLocaleString("en-US")}` : count(entries.length, "entry", "entries"))}
          {found.data?.next && `, the first ${MOST_ENTRIES.toLocaleString("en-US")} by name`}
        </span>
      </div>
      {found.data && entries.length === 0 ? (
        <Empty>{wanted ? "No name here contains that." : "This folder is empty. What flows write here will be seen here."}</Empty>
      ) : (
        <FileList entries={entries} to={to} up={up} />
      )}
    </section>
  );
}
