import { Button, Text, TextInput } from "@mantine/core";
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, type Shape, take } from "../../api/client";
import { useStart } from "../../api/queries";
import { useAddress } from "../../parts/address";
import { Ago } from "../../parts/Times";
import { useRowHeight } from "../../parts/rows";
import { Empty, Trouble } from "../../parts/Trouble";
import { bytes } from "../../parts/words";
import { FileState, FILE_STATES } from "./FileState";
import { type FileFilter, sourceFiles } from "./queries";

/** What became of each source file of the flow: filters in the address, very many files, each can be run. */
export function Files({ workspace, flow, refusal }: { workspace: string; flow: Shape["FlowDetails"]; refusal: string | null }) {
  const { address, put: change } = useAddress();
  const filter: FileFilter = { state: address.get("state") ?? undefined, text: address.get("text") ?? undefined };
  const found = useInfiniteQuery(sourceFiles(workspace, flow.name, filter));
  const client = useQueryClient();
  const [looking, setLooking] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const put = (key: string, value: string | undefined) => change({ [key]: value || null });
  const files = useMemo(() => found.data?.pages.flatMap((page) => page.files) ?? [], [found.data]);
  const first = found.data?.pages[0];
  const last = found.data?.pages.at(-1);
  if (found.error && !first) return <Trouble error={found.error} />;
  if (!first || !last) return <p className="quiet soon">Looking at the files…</p>;
  const chosen = new Set(filter.state?.split(",") ?? []);
  const toggle = (state: string) => {
    const next = new Set(chosen);
    if (!next.delete(state)) next.add(state);
    put("state", [...next].join(","));
  };
  // A large source is looked at again only every half a minute, unless somebody asks.
  const lookAgain = async () => {
    setLooking(true);
    const params = { path: { workspace, name: flow.name }, query: { again: true, limit: 1 } };
    await take(api.GET("/api/v1/workspaces/{workspace}/flows/{name}/sources", { params })).catch(() => null);
    await client.invalidateQueries({ queryKey: [workspace, "flow", flow.name, "sources"] });
    setLooking(false);
  };
  const { counts } = last;
  return (
    <section className="panel" aria-label="Source files" onKeyDown={(event) => slash(event, field.current)}>
      <div className="panel-head files-head">
        <div className="chips" role="group" aria-label="States">
          <button type="button" className="chip" aria-pressed={chosen.size === 0} onClick={() => put("state", undefined)}>
            All <span className="mono">{last.total.toLocaleString()}</span>
          </button>
          {FILE_STATES.filter((state) => counts[state] || chosen.has(state) || ["fresh", "changed", "failed", "never"].includes(state)).map((state) => (
            <button key={state} type="button" className="chip" aria-pressed={chosen.has(state)} onClick={() => toggle(state)}>
              <FileState state={state} /> <span className="mono">{(counts[state] ?? 0).toLocaleString()}</span>
            </button>
          ))}
        </div>
        <Search value={filter.text ?? ""} field={field} onChange={(text) => put("text", text)} />
        <Button size="compact-sm" variant="default" loading={looking} onClick={lookAgain}>
          Look again
        </Button>
      </div>
      {last.problem && (
        <div role="alert" className="notice">
          <Text size="sm" className="state-failed">
            {last.problem.message}
          </Text>
          <Text size="sm">{last.problem.hint}</Text>
        </div>
      )}
      {!last.problem && last.total === 0 && <Empty>There is no file in {last.source} yet. Drop files anywhere on this page, and they run.</Empty>}
      {last.total > 0 && (
        <FileList workspace={workspace} flow={flow} source={last.source ?? ""} files={files} refusal={refusal}
          more={found.hasNextPage && !found.isFetchingNextPage ? () => void found.fetchNextPage() : undefined} complete={!found.hasNextPage} />
      )}
    </section>
  );
}

function slash(event: KeyboardEvent, field: HTMLInputElement | null): void {
  if (event.key !== "/" || (event.target as HTMLElement).tagName === "INPUT") return;
  event.preventDefault();
  field?.focus();
}

interface SearchProps {
  value: string;
  field: React.RefObject<HTMLInputElement | null>;
  onChange: (text: string) => void;
}

/** A part of the path; the address follows when typing stops. */
function Search({ value, field, onChange }: SearchProps) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  useEffect(() => {
    if (typed === value) return;
    const timer = window.setTimeout(() => onChange(typed), 200);
    return () => window.clearTimeout(timer);
  });
  return (
    <TextInput
      ref={field}
      size="xs"
      aria-label="Part of the path"
      placeholder="Part of the path  /"
      value={typed}
      onChange={(event) => setTyped(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        onChange("");
        event.currentTarget.blur();
      }}
    />
  );
}

interface FileListProps {
  workspace: string;
  flow: Shape["FlowDetails"];
  source: string;
  files: Shape["SourceState"][];
  refusal: string | null;
  more: (() => void) | undefined;
  complete: boolean;
}

function FileList({ workspace, flow, source, files, refusal, more, complete }: FileListProps) {
  const box = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState(0);
  const navigate = useNavigate();
  const row = useRowHeight();
  const rows = useVirtualizer({ count: files.length, getScrollElement: () => box.current, estimateSize: () => row, overscan: 12 });
  useEffect(() => rows.measure(), [rows, row]);
  const shown = rows.getVirtualItems();
  const end = shown.at(-1)?.index ?? 0;
  useEffect(() => {
    if (more && end > files.length - 300) more();
  }, [more, end, files.length]);
  const current = Math.min(active, files.length - 1);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget) return;
    const by = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 12, PageUp: -12, Home: -files.length, End: files.length }[event.key];
    if (by !== undefined) {
      event.preventDefault();
      const next = Math.max(0, Math.min(files.length - 1, current + by));
      setActive(next);
      rows.scrollToIndex(next);
    }
    const run = files[current]?.run;
    if (event.key === "Enter" && run) void navigate(`/w/${workspace}/runs/${run}`);
  };
  if (files.length === 0) return <Empty>No file passes these filters.</Empty>;
  const individual = flow.trigger?.run_as !== "batch";
  return (
    <div className="files" role="grid" aria-label="Files" aria-rowcount={complete ? files.length : -1} tabIndex={0} ref={box} onKeyDown={onKeyDown} aria-activedescendant={`file-${current}`}>
      <div role="rowgroup" style={{ position: "relative", height: rows.getTotalSize() }}>
        {shown.map(({ index, start }) => {
          const file = files[index];
          return (
            file && (
              <div key={file.path} id={`file-${index}`} role="row" aria-rowindex={index + 1} className="file" data-active={index === current || undefined}
                style={{ transform: `translateY(${start}px)` }} onClick={() => setActive(index)}>
                <span role="gridcell">
                  <FileState state={file.state} />
                </span>
                <span role="gridcell" className="mono path" title={file.path}>
                  {file.path}
                </span>
                <span role="gridcell" className="mono right quiet">
                  {bytes(file.size)}
                </span>
                <span role="gridcell" className="quiet">
                  <Ago at={file.modified_at} />
                </span>
                <span role="gridcell">{file.run && <Link to={`/w/${workspace}/runs/${file.run}`}>{file.state === "running" || file.state === "queued" ? "its run" : "last run"}</Link>}</span>
                <span role="gridcell" className="right">
                  {individual && <RunFile workspace={workspace} name={flow.name} source={source} file={file} refusal={refusal} />}
                </span>
              </div>
            )
          );
        })}
      </div>
    </div>
  );
}

interface RunFileProps {
  workspace: string;
  name: string;
  source: string;
  file: Shape["SourceState"];
  refusal: string | null;
}

/** Runs the flow on this one file, whatever became of it before. */
function RunFile({ workspace, name, source, file, refusal }: RunFileProps) {
  const start = useStart(workspace);
  if (file.state === "running" || file.state === "queued") return null;
  const words = start.error ? "Refused" : file.state === "never" || file.state === "changed" ? "Run" : "Run again";
  return (
    <Button
      size="compact-xs"
      variant="default"
      loading={start.isPending}
      disabled={refusal !== null}
      title={start.error?.message ?? refusal ?? undefined}
      color={start.error ? "red" : undefined}
      aria-label={`${words} ${file.path}`}
      onClick={() => start.mutate({ name, body: { source: `${source}/${file.path}`, force: true } })}
    >
      {words}
    </Button>
  );
}
