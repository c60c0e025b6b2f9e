import { grouped, shown, type Statistics } from "../../parts/table/tables";

const TALL = 22;

/** What is in a column: bars of its values, how many there are, and how many are missing. */
export function ColumnHead({ statistics, width, waiting }: { statistics: Statistics | undefined; width: number; waiting: boolean }) {
  if (!statistics) return <div className="column-head">{waiting && <span className="grid-wait" />}</div>;
  const { histogram, top, count, nulls, distinct, approximate } = statistics;
  const bars = histogram?.map((each) => ({ number: each.count, title: `${brief(each.from)} … ${brief(each.to)}: ${grouped(each.count)}` }))
    ?? top?.map((each) => ({ number: each.count, title: `${each.value === "" ? "empty" : shown(each.value)}: ${grouped(each.count)}` }))
    ?? [];
  const most = Math.max(1, ...bars.map((each) => each.number));
  const room = width - 24;
  const wide = Math.min(14, room / Math.max(1, bars.length));
  const missing = count + nulls > 0 ? nulls / (count + nulls) : 0;
  const about = approximate.length > 0 ? "≈ " : "";
  return (
    <div className="column-head">
      <svg width={room} height={TALL} aria-hidden>
        {bars.map((each, index) => {
          const height = each.number === 0 ? 0 : Math.max(1.5, (TALL * each.number) / most);
          return (
            <rect key={index} x={index * wide} y={TALL - height} width={Math.max(1, wide - 1)} height={height}>
              <title>{each.title}</title>
            </rect>
          );
        })}
      </svg>
      <span className="column-said">
        <span title={histogram ? `${shown(statistics.min)} … ${shown(statistics.max)}${statistics.mean === null ? "" : `, mean ${brief(statistics.mean)}`}` : undefined}>
          {histogram && statistics.min !== null ? `${brief(statistics.min)} … ${brief(statistics.max)}` : distinct !== null ? `${about}${grouped(distinct)} ${distinct === 1 ? "value" : "values"}` : ""}
        </span>
        {nulls > 0 && <span title={`${about}${grouped(nulls)} of ${grouped(count + nulls)} are null`}>{percent(missing)} null</span>}
      </span>
    </div>
  );
}

/** A bound in few characters: days without their time, numbers without what does not count. */
function brief(value: unknown): string {
  if (typeof value === "number") {
    const size = Math.abs(value);
    if (size >= 1e6) return value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
    return value.toLocaleString("en-US", { maximumFractionDigits: size >= 100 ? 0 : 2 });
  }
  return shown(value).replace(/T.*$/, "");
}

function percent(share: number): string {
  if (share < 0.001) return "< 0.1 %";
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}
