import { ActionIcon, Checkbox, Menu, Select, TextInput } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconCopy, IconDownload } from "../../parts/icons";
import { type KeyboardEvent, type Ref, useEffect, useMemo, useState } from "react";
import type { Run } from "../../api/client";
import type { Look } from "./address";

interface LogBarProps {
  workspace: string;
  run: Run;
  look: Look;
  onLook: (change: Partial<Look>) => void;
  field: Ref<HTMLInputElement>;
  /** Something is looked for. */
  narrowed: boolean;
  onJump: ((backward: boolean) => void) | null;
  live: boolean;
  follow: boolean;
  onFollow: (follow: boolean) => void;
  onCopy: (() => void) | null;
}

const LEVELS = [
  { value: "info", label: "Info and up" },
  { value: "warning", label: "Warnings and up" },
  { value: "error", label: "Errors" },
];

/** What of the log is shown, and what may be done with it. */
export function LogBar({ workspace, run, look, onLook, field, narrowed, onJump, live, follow, onFollow, onCopy }: LogBarProps) {
  const [typed, setTyped] = useTyped(look.text, (text) => onLook({ text, line: null }));
  const steps = useMemo(() => run.steps.map((each) => ({ value: each.name, label: each.label })), [run.steps]);
  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key === "Enter") onJump?.(event.shiftKey);
    else if (event.key === "Escape") {
      if (typed) setTyped("");
      else event.currentTarget.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className="log-bar">
      <TextInput
        ref={field}
        className="log-find"
        size="xs"
        aria-label="Find in the log"
        placeholder="Find in the log  /"
        value={typed}
        onChange={(event) => setTyped(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <ActionIcon.Group>
        <ActionIcon variant="default" size={28} aria-label="Previous match" title="Previous match (Shift+Enter)" disabled={!onJump} onClick={() => onJump?.(true)}>
          <IconArrowUp size={16} aria-hidden />
        </ActionIcon>
        <ActionIcon variant="default" size={28} aria-label="Next match" title="Next match (Enter)" disabled={!onJump} onClick={() => onJump?.(false)}>
          <IconArrowDown size={16} aria-hidden />
        </ActionIcon>
      </ActionIcon.Group>
      <Select
        aria-label="Step"
        size="xs"
        w={132}
        placeholder="All steps"
        data={steps}
        value={look.step}
        onChange={(step) => onLook({ step, item: null })}
        limit={100}
        searchable
        clearable
      />
      <Select
        aria-label="Level"
        size="xs"
        w={124}
        placeholder="All levels"
        data={LEVELS}
        value={look.level}
        onChange={(level) => onLook({ level })}
        clearable
      />
      {narrowed && (
        <Checkbox
          size="xs"
          label="Only matches"
          checked={!look.context}
          onChange={(event) => onLook({ context: !event.currentTarget.checked })}
        />
      )}
      {live && (
        <Checkbox size="xs" label="Follow" checked={follow} onChange={(event) => onFollow(event.currentTarget.checked)} />
      )}
      <span className="grow" />
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label="Copy the chosen lines"
        title={onCopy ? "Copy the chosen lines (Ctrl+C)" : "Click a line, then Shift+click another, to copy them"}
        disabled={!onCopy}
        onClick={() => onCopy?.()}
      >
        <IconCopy size={16} aria-hidden />
      </ActionIcon>
      <Menu position="bottom-end" shadow="sm">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label="Download the log" title="Download the log">
            <IconDownload size={16} aria-hidden />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {(["text", "ndjson"] as const).map((format) => (
            <Menu.Item
              key={format}
              component="a"
              download
              href={`/api/v1/workspaces/${workspace}/runs/${run.id}/log/download?format=${format}`}
            >
              {format === "text" ? "As text" : "As JSON lines, with all data"}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </div>
  );
}

/** What is typed, told to others once the typing rests. */
function useTyped(text: string, onText: (text: string) => void): [string, (typed: string) => void] {
  const [typed, setTyped] = useState(text);
  const [told, setTold] = useState(text);
  if (text !== told) {
    setTold(text);
    setTyped(text);
  }
  useEffect(() => {
    if (typed === told) return;
    const clock = window.setTimeout(() => onText(typed), 200);
    return () => window.clearTimeout(clock);
  });
  return [typed, setTyped];
}
