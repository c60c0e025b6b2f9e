import "./settings.css";
import { Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";
import { Search } from "../../parts/Search";
import { Empty, Trouble } from "../../parts/Trouble";
import { KillSwitch } from "./KillSwitch";
import { type Setting, settings } from "./queries";
import { EFFECTS, Row } from "./Row";

const TOPICS: { title: string; about: string; has: (name: string) => boolean }[] = [
  { title: "Keeping", about: "How long runs are remembered.", has: (name) => name.startsWith("retention_") },
  { title: "Environments", about: "What flows run in, and how long it is kept.", has: (name) => name.startsWith("environment_") },
  { title: "The pool", about: "Environments that wait to be taken by kernels.", has: (name) => name.startsWith("pool_") },
  { title: "The daemon", about: "The process that serves this page.", has: (name) => name.startsWith("daemon_") },
  {
    title: "Workers",
    about: "The processes that run flows, and what they may use.",
    has: (name) => /^(worker_(?!slots)|warm_|preview_)|_timeout$/.test(name),
  },
  { title: "Running", about: "How flows start, go on and end.", has: () => true },
];
const ORDER = ["Running", "Workers", "Keeping", "Environments", "The pool", "The daemon"];

/** Every setting of this machine, with where it comes from, and the switch that stops everything. */
export default function Settings() {
  const [address] = useSearchParams();
  const wanted = address.get("find") ?? "";
  const found = useQuery(settings);
  if (found.error && !found.data) return <Trouble error={found.error} />;
  if (!found.data) return null;
  const { path, problem, unknown } = found.data;
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = found.data.settings.filter((each) =>
    words.every((word) => `${each.name} ${each.name.replaceAll("_", " ")} ${each.about}`.toLowerCase().includes(word)),
  );
  const topics = Map.groupBy(shown, (each) => TOPICS.find((topic) => topic.has(each.name))?.title ?? "");
  return (
    <div className="settings">
      <header>
        <Title order={1}>Settings</Title>
        <Text size="sm" className="quiet">
          of this machine, in <span className="mono">{path}</span>
        </Text>
        <span className="grow" />
        <Search label="Find a setting" width={220} />
      </header>
      {problem && (
        <div className="panel settings-problem" role="alert">
          <strong>{problem.message}</strong> {problem.hint}
        </div>
      )}
      {unknown.length > 0 && (
        <div className="panel settings-problem" role="alert">
          <strong>settings.toml names what does not exist: {unknown.join(", ")}.</strong> Take it out, or correct its spelling.
        </div>
      )}
      {ORDER.map((title) => {
        const rows = topics.get(title);
        return rows && <Topic key={title} title={title} rows={rows} />;
      })}
      {shown.length === 0 && (
        <section className="panel">
          <Empty>No setting speaks of “{wanted}”.</Empty>
        </section>
      )}
      {wanted === "" && <KillSwitch />}
    </div>
  );
}

function Topic({ title, rows }: { title: string; rows: Setting[] }) {
  const effects = [...new Set(rows.map((each) => each.effect))];
  return (
    <section className="panel" aria-label={title}>
      <h2>
        {title} <span className="quiet">{TOPICS.find((topic) => topic.title === title)?.about}</span>
        <span className="quiet settings-effect">
          {effects.map((effect) => `Changes count ${EFFECTS[effect]}.`)}
        </span>
      </h2>
      {rows.map((each) => (
        <Row key={each.name} setting={each} />
      ))}
    </section>
  );
}
