import { ActionIcon, Button, Checkbox, Group, Popover, Select, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { type Column, type Filter, grouped, shown, type Sort, type Statistics } from "../../parts/table/tables";

const COMPARED = ["=", "!=", "<", "<=", ">", ">="];
const WORDS: Record<string, string> = {
  "=": "is", "!=": "is not", "<": "is below", "<=": "is at most", ">": "is above", ">=": "is at least", contains: "contains",
  "starts-with": "starts with", "ends-with": "ends with", in: "is one of", "is-null": "is null", "is-not-null": "is not null",
};
const NULLS = ["is-null", "is-not-null"];

/** A filter in words. */
export function told({ column, op, value }: Filter): string {
  return [column, WORDS[op] ?? op, ...(value === undefined ? [] : [Array.isArray(value) ? value.join(", ") : String(value)])].join(" ");
}

function operators(column: Column): string[] {
  if (column.kind === "text") return ["contains", "=", "!=", "starts-with", "ends-with", ...NULLS];
  if (column.kind === "nested" || column.kind === "binary") return ["contains", ...NULLS];
  return column.kind === "boolean" ? ["=", ...NULLS] : [...COMPARED, ...NULLS];
}

interface ColumnMenuProps {
  column: Column;
  statistics: Statistics | undefined;
  filters: Filter[];
  onFilter: (filters: Filter[]) => void;
  onSort: (sort: Sort[]) => void;
}

/** What can be done with a column: sorted, and which of its values are shown. */
export function ColumnMenu({ column, statistics, filters, onFilter, onSort }: ColumnMenuProps) {
  const [opened, setOpened] = useState(false);
  const [op, setOp] = useState(() => operators(column)[0] ?? "=");
  const [value, setValue] = useState("");
  const mine = filters.filter((each) => each.column === column.name);
  const others = filters.filter((each) => each.column !== column.name);
  const some = mine.find((each) => each.op === "in")?.value;
  const chosen = Array.isArray(some) ? some : [];
  const put = (filter: Filter | null, ops: string[]) => onFilter([...others, ...mine.filter((each) => !ops.includes(each.op)), ...(filter ? [filter] : [])]);
  const apply = () => {
    if (!NULLS.includes(op) && value === "") return;
    put(NULLS.includes(op) ? { column: column.name, op } : { column: column.name, op, value }, [op]);
    setValue("");
    setOpened(false);
  };
  const offered = (statistics?.top ?? []).filter((each) => each.value !== null && typeof each.value !== "object" && column.kind !== "nested");
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom-start" trapFocus returnFocus withinPortal shadow="md">
      <Popover.Target>
        <ActionIcon
          size={18} variant={mine.length > 0 ? "light" : "subtle"} color={mine.length > 0 ? undefined : "gray"}
          aria-label={`Filter ${column.name}`} aria-expanded={opened} onClick={() => setOpened((known) => !known)}
        >
          ⋯
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown aria-label={`Column ${column.name}`}>
        <Stack gap="sm" w={240}>
          <Group gap="xs" grow>
            {[false, true].map((descending) => (
              <Button
                key={String(descending)} size="compact-xs" variant="default"
                onClick={() => {
                  onSort([{ column: column.name, descending }]);
                  setOpened(false);
                }}
              >
                {descending ? "Sort ↓" : "Sort ↑"}
              </Button>
            ))}
          </Group>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              apply();
            }}
          >
            <Stack gap="xs">
              <Select
                size="xs" aria-label="How it is compared" data={operators(column).map((each) => ({ value: each, label: WORDS[each] ?? each }))}
                value={op} onChange={(next) => next && setOp(next)} allowDeselect={false} comboboxProps={{ withinPortal: false }}
              />
              {!NULLS.includes(op) && (
                <TextInput
                  size="xs" aria-label="Value" data-autofocus value={value} onChange={(event) => setValue(event.currentTarget.value)}
                  placeholder={column.kind === "boolean" ? "true or false" : column.kind === "date" ? "2026-03-01" : column.kind === "timestamp" ? "2026-03-01T08:15" : ""}
                />
              )}
              <Button size="compact-xs" type="submit" variant="light">
                Filter
              </Button>
            </Stack>
          </form>
          {offered.length > 0 && (
            <div className="column-top" role="group" aria-label="Frequent values">
              {offered.map((each) => {
                const one = each.value as string | number | boolean;
                const key = typeof one === "boolean" ? String(one) : one;
                return (
                  <Checkbox
                    key={String(one)} size="xs" checked={chosen.includes(key)}
                    label={
                      <span className="column-value">
                        <span>{one === "" ? "empty" : shown(one)}</span> <span className="quiet mono">{grouped(each.count)}</span>
                      </span>
                    }
                    onChange={(event) => {
                      const next = event.currentTarget.checked ? [...chosen, key] : chosen.filter((other) => other !== key);
                      put(next.length > 0 ? { column: column.name, op: "in", value: next } : null, ["in"]);
                    }}
                  />
                );
              })}
            </div>
          )}
          {mine.length > 0 && (
            <Button size="compact-xs" variant="subtle" onClick={() => onFilter(others)}>
              Show all of {column.name}
            </Button>
          )}
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
