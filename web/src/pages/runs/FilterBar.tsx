import { Button, MultiSelect, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { overview } from "../../api/queries";
import { useAddress } from "../../parts/address";
import { FilterBox } from "../../parts/FilterBox";
import { dayOf, isDay, PERIODS, STATES, TRIGGERS } from "./filters";

/** Which runs are shown; each choice stands in the address. */
export function FilterBar({ workspace }: { workspace: string }) {
  const { address, put } = useAddress();
  const known = useQuery(overview(workspace)).data?.flows ?? [];
  const groups = [...new Set(known.map((flow) => flow.group).filter((group) => group !== null))].sort();
  const set = (name: string, value: string | null) => put({ [name]: value || null });
  const when = address.get("when");
  return (
    <div className="runs-filters" role="search" aria-label="Filter runs">
      <FilterBox
        label="Text in id, source or summary" placeholder="Id, source or summary" width={180} list=".runs-list"
        text={address.get("text") ?? ""} onChange={(text) => set("text", text)}
      />
      <Select
        aria-label="Flow" placeholder="All flows" size="xs" w={140} clearable searchable
        data={known.map((flow) => ({ value: flow.name, label: flow.label }))}
        value={address.get("flow")} onChange={(value) => set("flow", value)}
      />
      {groups.length > 1 && (
        <Select
          aria-label="Group" placeholder="All groups" size="xs" w={130} clearable searchable
          data={groups} value={address.get("group")} onChange={(value) => set("group", value)}
        />
      )}
      <MultiSelect
        aria-label="States" placeholder={address.has("status") ? undefined : "All states"} size="xs" miw={130} clearable hidePickedOptions
        data={STATES} value={(address.get("status") ?? "").split(",").filter(Boolean)}
        onChange={(values) => set("status", values.join(","))}
      />
      <Select
        aria-label="Started" placeholder="However started" size="xs" w={140} clearable
        data={TRIGGERS} value={address.get("trigger")} onChange={(value) => set("trigger", value)}
      />
      <Select
        aria-label="Period" placeholder="Any time" size="xs" w={120} clearable
        data={PERIODS} value={isDay(when) ? "day" : when}
        onChange={(value) => set("when", value === "day" ? dayOf(new Date()) : value)}
      />
      {isDay(when) && (
        <input type="date" className="runs-day" aria-label="Day" value={when ?? ""} onChange={(event) => set("when", event.currentTarget.value)} />
      )}
      {address.size > 0 && (
        <Button size="compact-xs" variant="subtle" onClick={() => put(Object.fromEntries([...address.keys()].map((name) => [name, null])))}>
          Clear filters
        </Button>
      )}
    </div>
  );
}
