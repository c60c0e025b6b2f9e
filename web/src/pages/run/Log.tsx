import { useMutation } from "@tanstack/react-query";
import { type Ref, useMemo, useState } from "react";
import type { Run } from "../../api/client";
import { Trouble } from "../../parts/Trouble";
import { count } from "../../parts/words";
import type { Look } from "./address";
import { LogBar } from "./LogBar";
import { LogDetail } from "./LogDetail";
import { type Extent, matches, nearest, read, useExtent, useFoundLines, useWholeLog, type Wanted } from "./logLines";
import { useTail } from "./logTail";
import { asText, type Chosen, LogView } from "./LogView";
import { isOpen } from "./queries";

interface LogProps {
  workspace: string;
  run: Run;
  look: Look;
  onLook: (change: Partial<Look>) => void;
  /** The field that is searched with. */
  field: Ref<HTMLInputElement>;
}

const MOST_COPIED = 50_000;

/** A run's log: as much of it as is seen, what is looked for in it, and what comes to it. */
export function Log(props: LogProps) {
  const extent = useExtent(props.workspace, props.run.id);
  // The beginning of a long log is shown while it is counted; its end, or what is looked for in it, when it is.
  const { line, step, level, text } = props.look;
  const [fromStart] = useState(!isOpen(props.run) && line === null && step === null && level === null && text === "");
  if (extent.error) return <Trouble error={extent.error} />;
  if (!extent.data) return null;
  return fromStart || extent.data.seq !== null ? <OpenLog {...props} extent={extent.data} /> : null;
}

function OpenLog({ workspace, run, look, onLook, field, extent }: LogProps & { extent: Extent }) {
  const tail = useTail(workspace, run.id, isOpen(run), extent);
  const [follow, setFollow] = useState(tail.live && look.line === null);
  const [fromEnd, setFromEnd] = useState(tail.live);
  const { step, level, text } = look;
  const wanted = useMemo<Wanted>(() => ({ step, level, text }), [step, level, text]);
  const narrowed = step !== null || level !== null || text !== "";
  const filtered = narrowed && !look.context;
  const whole = useWholeLog(workspace, run.id, tail, !filtered);
  const found = useFoundLines(workspace, run.id, wanted, tail, fromEnd, filtered);
  const lines = filtered ? found : whole;

  const [chosen, setChosen] = useState<Chosen | null>(look.line === null ? null : { from: look.line, to: look.line });
  const [target, setTarget] = useState(look.line === null ? null : { line: look.line });
  const choose = (number: number, extend = false) => {
    setChosen((before) => ({ from: extend && before ? before.from : number, to: number }));
    setFollow(false);
  };
  const show = (number: number) => {
    choose(number);
    setTarget({ line: number });
  };

  const jump = useMutation({
    mutationFn: async (backward: boolean) => {
      const here = chosen?.to;
      if (filtered) {
        const index = here === undefined ? (backward ? lines.count : -1) : lines.indexOf(here);
        return lines.line(index + (backward ? -1 : 1)) ?? null;
      }
      const start = here === undefined ? (backward ? tail.end : 0) : backward ? here : here + 1;
      return nearest(workspace, run.id, wanted, start, backward);
    },
    onSuccess: (line) => line && show(line.line),
  });
  const copy = useMutation({
    mutationFn: async ({ from, to }: Chosen) => {
      const [first, last] = [Math.min(from, to), Math.max(from, to)];
      const all = filtered
        ? Array.from({ length: lines.indexOf(last) - lines.indexOf(first) + 1 }, (_, index) => lines.line(lines.indexOf(first) + index))
        : await read(workspace, run.id, first, Math.min(last - first + 1, MOST_COPIED));
      await navigator.clipboard.writeText(all.map((line) => line && asText(line)).join("\n"));
      return all.length;
    },
  });
  const detail = chosen ? lines.line(lines.indexOf(chosen.to)) : undefined;

  return (
    <section className="run-log" role="log" aria-live="off" aria-label="Log">
      <LogBar
        workspace={workspace}
        run={run}
        look={look}
        onLook={onLook}
        field={field}
        narrowed={narrowed}
        onJump={narrowed ? jump.mutate : null}
        live={tail.live}
        follow={follow}
        onFollow={setFollow}
        onCopy={chosen ? () => copy.mutate(chosen) : null}
      />
      {lines.error && <Trouble error={lines.error} />}
      <LogView
        lines={lines}
        live={tail.live}
        follow={follow}
        onFollow={setFollow}
        chosen={chosen}
        onChoose={choose}
        onLeave={() => setChosen(null)}
        onCopy={() => chosen && copy.mutate(chosen)}
        onJump={(backward) => narrowed && jump.mutate(backward)}
        onOpen={(number) => {
          onLook({ context: true, line: number });
          show(number);
        }}
        onEnd={(end) => filtered && setFromEnd(end)}
        target={target}
        text={text}
        steps={step === null || look.context ? run.steps : null}
        faint={look.context && narrowed ? (line) => !matches(line, wanted) : null}
      />
      {detail && chosen && detail.line === chosen.to && (
        <LogDetail
          line={detail}
          onContext={filtered ? () => { onLook({ context: true, line: detail.line }); show(detail.line); } : null}
          onClose={() => setChosen(null)}
        />
      )}
      <p className="log-foot quiet small" role="status">
        {filtered ? `${lines.count.toLocaleString()}${lines.ahead > 0 ? "+" : ""} of ${count(tail.end, "line")}` : count(tail.end, "line")}
        {extent.seq === null && " and more, being counted"}
        {!filtered && lines.count < tail.end && ` · ${lines.count.toLocaleString()} in reach, Home and End lead to the others`}
        {lines.loading && lines.ahead > 0 && ` · looked through ${Math.floor(100 * (1 - lines.ahead))} %`}
        {filtered && lines.count === 0 && !lines.loading && lines.ahead === 0 && " · nothing in the log fits"}
        {jump.data === null && !jump.isPending && " · no further match"}
        {copy.data !== undefined && !copy.isPending && ` · ${count(copy.data, "line")} copied`}
        {copy.error && ` · not copied: ${copy.error.message}`}
        {tail.live && " · live"}
      </p>
    </section>
  );
}
