import { Button, Select, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { ApiError } from "../../api/client";
import { CodeView } from "../../parts/code/CodeView";
import { languageOf } from "../../parts/code/language";
import { Markdown } from "../../parts/Markdown";
import { Ago } from "../../parts/Times";
import { Empty, Trouble } from "../../parts/Trouble";
import { bytes } from "../../parts/words";
import { contentOf, dataAt, type FileInfo, text } from "./queries";
import { TableView } from "./TableView";

interface FileProps {
  workspace: string;
  path: string;
  run: string | null;
  info: FileInfo;
}

/** A file as what it is: a table, a picture, a page, a text; anything else to be taken along. */
export function FileView(props: FileProps) {
  const { workspace, path, run, info } = props;
  const owner = run ?? /\/runs\/(r_[0-9a-f]+)\//.exec(path)?.[1] ?? null;
  return (
    <div className="data-file">
      <div className="table-bar">
        <span className="quiet">
          {bytes(info.size)} · {info.format ?? info.kind} · changed <Ago at={info.modified_at} />
        </span>
        {owner && <Link to={dataAt(workspace, "", owner)}>All that this run left</Link>}
        <span className="grow" />
        {info.path.startsWith("flow_modules/") && <Link to={`/w/${workspace}/editor?path=${encodeURIComponent(info.path)}`}>Open in the editor</Link>}
        <Button component="a" size="compact-sm" variant="subtle" href={contentOf(workspace, path, run)} download={info.name}>
          Download file
        </Button>
      </div>
      {info.problem ? (
        <Trouble error={new ApiError(info.problem.code, info.problem.message, info.problem.hint, 422)} />
      ) : (
        <Shown {...props} owner={owner} />
      )}
    </div>
  );
}

function Shown(props: FileProps & { owner: string | null }) {
  const { workspace, path, run, info } = props;
  const content = contentOf(workspace, path, run);
  switch (info.kind) {
    case "table":
      return <Table {...props} />;
    case "image":
      return (
        <div className="panel data-image">
          <img src={content} alt={info.name} />
        </div>
      );
    case "html":
      // No script runs in it, and nothing is asked for: the answer's own policy says so too.
      return <iframe className="panel data-frame" sandbox="" src={content} title={info.name} />;
    case "pdf":
      return <iframe className="panel data-frame" src={content} title={info.name} />;
    case "markdown":
    case "json":
    case "text":
      return <Text {...props} />;
    default:
      return (
        <div className="panel">
          <Empty>
            {info.name} is of no kind that can be shown here ({info.media_type}, {bytes(info.size)}). Download it to open it with what wrote it.
          </Empty>
        </div>
      );
  }
}

/** A table; of a workbook or a database the one that the address names, else the first. */
function Table({ workspace, path, run, info, owner }: FileProps & { owner: string | null }) {
  const [address, setAddress] = useSearchParams();
  const parts = info.parts ?? [];
  const named = address.get("part");
  const database = info.format === "duckdb";
  const part = parts.find((each) => each.name === named)?.name ?? (database ? parts[0]?.name : undefined);
  const source = useMemo(
    () => ({ path, ...(run ? { run_id: run } : {}), ...(part ? (database ? { table: part } : { sheet: part }) : {}) }),
    [path, run, part, database],
  );
  // Filters and sort are of one table.
  const choose = (name: string) =>
    setAddress({ ...(address.has("path") ? { path: address.get("path") ?? "" } : {}), ...(run ? { run } : {}), part: name });
  if (database && parts.length === 0) return <Empty>This database has no tables yet.</Empty>;
  return (
    <div className={parts.length > 1 || database ? "data-parts" : "data-whole"}>
      {(parts.length > 1 || database) && (
        <div>
          {parts.length > 8 ? (
            <Select size="xs" w={280} searchable aria-label="Table" data={parts.map((each) => each.name)} value={part ?? parts[0]?.name ?? null} onChange={(name) => name && choose(name)} allowDeselect={false} />
          ) : (
            <SegmentedControl size="xs" aria-label="Table" data={parts.map((each) => each.name)} value={part ?? parts[0]?.name} onChange={choose} />
          )}
        </div>
      )}
      <TableView key={JSON.stringify(source)} workspace={workspace} source={source} run={owner} />
    </div>
  );
}

const FIRST = 512 << 10;
const MOST = 4 << 20;

function Text({ workspace, path, run, info }: FileProps) {
  const [limit, setLimit] = useState(FIRST);
  const [raw, setRaw] = useState(false);
  const found = useQuery(text(workspace, path, run, limit));
  if (found.error) return <Trouble error={found.error} />;
  if (!found.data) return <div className="panel" style={{ minHeight: 200 }} aria-busy />;
  const { next } = found.data;
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : "";
  const image = (source: string) => (/^[a-z]+:|^\/|\.\./i.test(source) ? null : contentOf(workspace, folder + source, run));
  return (
    <div className="data-text">
      {(next !== null || info.kind === "markdown") && (
        <div className="table-bar">
          {next !== null && (
            <span>
              The first {bytes(next)} of {bytes(found.data.size)} are shown.
            </span>
          )}
          {next !== null && limit < MOST && (
            <Button size="compact-sm" variant="default" loading={found.isFetching} onClick={() => setLimit(MOST)}>
              Show {bytes(MOST)}
            </Button>
          )}
          <span className="grow" />
          {info.kind === "markdown" && (
            <SegmentedControl size="xs" aria-label="Shown as" value={raw ? "text" : "page"} onChange={(value) => setRaw(value === "text")} data={[{ value: "page", label: "Page" }, { value: "text", label: "Text" }]} />
          )}
        </div>
      )}
      <div className="panel data-scroll">
        {info.kind === "markdown" && !raw ? (
          <div className="data-page">
            <Markdown text={found.data.text} image={image} />
          </div>
        ) : (
          <CodeView text={info.kind === "json" ? laidOut(found.data.text, next !== null) : found.data.text} language={languageOf(info.name)} label={info.name} />
        )}
      </div>
    </div>
  );
}

/** JSON with a line for each part, where it is whole and was one line. */
function laidOut(json: string, isCut: boolean): string {
  if (isCut || json.trim().includes("\n")) return json;
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
