import { useCallback, useMemo } from "react";
import { useAddress } from "../../parts/address";

export const TABS = ["logs", "data", "error", "report", "details"] as const;
export type Tab = (typeof TABS)[number];

/** What of a run is looked at: all of it is in the address, so that it can be sent to somebody. */
export interface Look {
  tab: Tab | null;
  /** The chosen step's name. */
  step: string | null;
  /** The chosen item of the chosen step. */
  item: number | null;
  /** What is looked for in the log. */
  text: string;
  level: string | null;
  /** All lines are shown around those that were looked for. */
  context: boolean;
  line: number | null;
}

/** What the address says is looked at, and how to look at something else; nothing of it makes a step back. */
export function useLook(): [Look, (change: Partial<Look>) => void] {
  const { address, put } = useAddress();
  const text = address.toString();
  const look = useMemo(() => parsed(text), [text]);
  const change = useCallback(
    (wanted: Partial<Look>) =>
      put(
        Object.fromEntries(
          Object.entries(wanted).map(([name, value]) => [name, value === null || value === "" || value === false ? null : String(value)]),
        ),
      ),
    [put],
  );
  return [look, change];
}

function parsed(text: string): Look {
  const address = new URLSearchParams(text);
  const tab = address.get("tab");
  return {
    tab: TABS.find((each) => each === tab) ?? null,
    step: address.get("step"),
    item: number(address.get("item")),
    text: address.get("text") ?? "",
    level: address.get("level"),
    context: address.get("context") === "true",
    line: number(address.get("line")),
  };
}

function number(text: string | null): number | null {
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}
