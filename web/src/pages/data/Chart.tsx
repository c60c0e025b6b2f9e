import "uplot/dist/uPlot.min.css";
import { MultiSelect, SegmentedControl, Select, useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { Empty } from "../../parts/Trouble";
import type { Column } from "../../parts/table/tables";
import { shown } from "../../parts/table/tables";
import type { Result } from "./SqlBox";

interface Drawn {
  kind: "line" | "bars";
  x: string;
  ys: string[];
}

interface ChartProps {
  result: Result;
  /** What is drawn, as the address has it. */
  chosen: string | null;
  onChoose: (chosen: string) => void;
}

/** A result drawn as lines or bars over one of its columns. */
export default function Chart({ result, chosen, onChoose }: ChartProps) {
  const numbers = result.columns.filter((column) => column.kind === "number");
  const drawn = read(chosen, result.columns, numbers);
  const choose = (change: Partial<Drawn>) => onChoose(JSON.stringify({ ...drawn, ...change }));
  if (numbers.length === 0) return <Empty>A chart needs a column of numbers. Count or sum something.</Empty>;
  return (
    <div className="chart">
      <div className="table-bar">
        <SegmentedControl
          size="xs" aria-label="Drawn as" value={drawn.kind} onChange={(kind) => choose({ kind: kind as Drawn["kind"] })}
          data={[{ value: "bars", label: "Bars" }, { value: "line", label: "Lines" }]}
        />
        <Select size="xs" w={180} aria-label="Over" data={[...new Set(result.columns.map((each) => each.name))]} value={drawn.x} allowDeselect={false} onChange={(x) => x && choose({ x })} />
        <MultiSelect size="xs" miw={180} aria-label="Values" data={[...new Set(numbers.map((each) => each.name))]} value={drawn.ys} onChange={(ys) => choose({ ys })} />
      </div>
      <Plot result={result} drawn={drawn} />
    </div>
  );
}

function Plot({ result, drawn }: { result: Result; drawn: Drawn }) {
  const place = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme("light");
  const key = JSON.stringify(drawn);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const { kind, x, ys } = JSON.parse(key) as Drawn;
    const plot = new uPlot(...plotted(result, { kind, x, ys }, element), element);
    const watching = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: Math.max(160, element.clientHeight - 40) }));
    watching.observe(element);
    return () => {
      watching.disconnect();
      plot.destroy();
    };
  }, [result, key, scheme]);
  return (
    <div ref={place} className="chart-plot" role="img" aria-label={`${drawn.kind === "bars" ? "Bars" : "Lines"} of ${drawn.ys.join(", ")} over ${drawn.x}, ${result.rows.length} points`} />
  );
}

const COLOURS = ["--mantine-primary-color-filled", "--running", "--waiting", "--rejected", "--quiet"];

function plotted(result: Result, { kind, x, ys }: Drawn, element: HTMLElement): [uPlot.Options, uPlot.AlignedData] {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const at = (name: string) => result.columns.findIndex((each) => each.name === name);
  const along = result.columns[at(x)];
  const isTime = along?.kind === "date" || along?.kind === "timestamp";
  const isWord = !isTime && along?.kind !== "number";
  const point = (value: unknown, row: number) => (isTime ? Date.parse(shown(value)) / 1000 : isWord || kind === "bars" ? row : Number(value));
  let rows = result.rows.map((row, index) => [point(row[at(x)], index), row] as const).filter(([place]) => Number.isFinite(place));
  if (!isWord) rows = rows.sort(([one], [other]) => one - other);
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: `11px ${style.fontFamily}` };
  const words = (isWord || kind === "bars") && !isTime;
  const series = ys.map((name, index) => ({
    label: name,
    stroke: colour(COLOURS[index % COLOURS.length] ?? ""),
    width: kind === "bars" ? 0 : 1.5,
    fill: kind === "bars" ? colour(COLOURS[index % COLOURS.length] ?? "") : undefined,
    paths: kind === "bars" ? uPlot.paths.bars?.({ size: [0.7 / ys.length, 60], align: ys.length === 1 ? 0 : index === 0 ? -1 : 1 }) : undefined,
    points: { show: kind === "line" && rows.length < 60 },
  }));
  const label = (place: number) => (Number.isInteger(place) ? shown(rows[place]?.[1][at(x)]) : "");
  const options: uPlot.Options = {
    width: element.clientWidth,
    height: Math.max(160, element.clientHeight - 40),
    scales: {
      x: { time: isTime, range: (_, least, most) => (kind === "bars" && words ? [-0.6, Math.max(0.6, rows.length - 0.4)] : least === most ? [least - 1, most + 1] : [least, most]) },
      y: { range: (_, least, most) => { const low = kind === "bars" ? Math.min(0, least ?? 0) : (least ?? 0); const high = most ?? 1; return [low, high === low ? low + 1 : high + (high - low) * 0.05]; } },
    },
    axes: [words ? { ...axis, values: (_, places) => places.map(label), space: 72 } : axis, { ...axis, size: 72 }],
    series: [words ? { label: x, value: (_, place) => (place === null ? "" : label(place)) } : { label: x }, ...series],
    cursor: { drag: { x: true, y: false } },
  };
  const values = ys.map((name) => rows.map(([, row]) => (row[at(name)] === null ? null : Number(row[at(name)]))));
  return [options, [rows.map(([place], index) => (words ? index : place)), ...values] as uPlot.AlignedData];
}

/** What the address asks for, else the first column with all numbers after it. */
function read(text: string | null, columns: Column[], numbers: Column[]): Drawn {
  const names = new Set(columns.map((each) => each.name));
  const figures = new Set(numbers.map((each) => each.name));
  try {
    const { kind, x, ys } = JSON.parse(text ?? "") as Drawn;
    if (names.has(x) && ys.every((each) => figures.has(each))) return { kind: kind === "line" ? "line" : "bars", x, ys };
  } catch {
    // It was typed, or is of another result.
  }
  const x = columns.find((each) => each.kind !== "number") ?? columns[0];
  const isTime = x?.kind === "date" || x?.kind === "timestamp";
  return { kind: isTime || x?.kind === "number" ? "line" : "bars", x: x?.name ?? "", ys: numbers.filter((each) => each !== x).slice(0, 3).map((each) => each.name) };
}
