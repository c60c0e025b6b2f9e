import { useCallback, useRef, useState } from "react";
import { useSearchParams } from "react-router";

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

/**
 * What the address says is looked at, and how to look at something else; nothing of it makes a step back. What is chosen
 * counts at once, also where the address follows a moment later: keys come faster than pages are drawn.
 */
export function useLook(): [Look, (change: Partial<Look>) => void] {
  const [address, setAddress] = useSearchParams();
  const text = address.toString();
  const [shown, setShown] = useState({ look: parsed(text), address: text });
  const told = useRef<string[]>([text]);
  const latest = useRef(text);
  if (shown.address !== text) {
    const ours = told.current.indexOf(text);
    if (ours >= 0) told.current.splice(0, ours);
    else {
      told.current = [text];
      latest.current = text;
    }
    setShown({ look: ours >= 0 ? shown.look : parsed(text), address: text });
  }
  const change = useCallback(
    (wanted: Partial<Look>) => {
      const next = new URLSearchParams(latest.current);
      for (const [name, value] of Object.entries(wanted)) {
        if (value === null || value === "" || value === false) next.delete(name);
        else next.set(name, String(value));
      }
      latest.current = next.toString();
      told.current.push(latest.current);
      setShown((before) => ({ ...before, look: parsed(latest.current) }));
      setAddress(next, { replace: true });
    },
    [setAddress],
  );
  return [shown.look, change];
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
