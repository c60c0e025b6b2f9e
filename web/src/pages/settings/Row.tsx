import { Button, Select, TagsInput, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { type Setting, useChange, type Value } from "./queries";

/** When a change counts. */
export const EFFECTS = {
  workspace: "once the workspace is opened anew",
  daemon: "once the daemon is started anew",
} as const;

/** One setting: what it does, what it is, who said so, and changing it in place. */
export function Row({ setting }: { setting: Setting }) {
  const change = useChange();
  const { name, set_by } = setting;
  const fixed = set_by === "environment";
  const save = (value: Value | null) => change.mutate({ name, value });
  return (
    <div className="setting">
      <div>
        <div className="mono setting-name" id={`name-${name}`}>
          {name}
        </div>
        <p className="quiet">
          {setting.about.split("`").map((part, index) => (index % 2 ? <code key={index}>{part}</code> : part))}
        </p>
      </div>
      <div>
        {/* What is shown begins anew with what the file says. */}
        <Field key={JSON.stringify(setting.value)} setting={setting} fixed={fixed} pending={change.isPending} onSave={save} />
        {change.error && (
          <Text size="xs" className="state-failed" role="alert">
            {change.error.message}
          </Text>
        )}
        {change.isSuccess && (
          <Text size="xs" className="quiet" role="status">
            Saved. It counts {EFFECTS[setting.effect]}.
          </Text>
        )}
      </div>
      <div className="setting-origin">
        {set_by === "default" ? (
          <span className="quiet">default</span>
        ) : (
          <>
            <span>{fixed ? <>by <span className="mono">{setting.variable}</span></> : "by settings.toml"}</span>
            <span className="quiet">
              default <span className="mono">{said(setting.default)}</span>
            </span>
          </>
        )}
        {set_by === "settings.toml" && (
          <Button size="compact-xs" variant="default" loading={change.isPending} aria-label={`Reset ${name} to its default`} onClick={() => save(null)}>
            Reset
          </Button>
        )}
        {fixed && <span className="quiet">It comes before the file: unset it to change this here.</span>}
      </div>
    </div>
  );
}

function said(value: Value): string {
  if (Array.isArray(value)) return value.length > 0 ? value.join(", ") : "none";
  return value === "" ? "empty" : String(value);
}

interface FieldProps {
  setting: Setting;
  fixed: boolean;
  pending: boolean;
  onSave: (value: Value) => void;
}

function Field({ setting, fixed, pending, onSave }: FieldProps) {
  const { name, value, kind } = setting;
  const labelled = { "aria-labelledby": `name-${name}`, size: "xs", disabled: fixed } as const;
  if (kind === "choice")
    return <Select {...labelled} data={setting.choices} value={String(value)} allowDeselect={false} onChange={(chosen) => chosen && onSave(chosen)} />;
  if (kind === "names")
    return <TagsInput {...labelled} value={Array.isArray(value) ? value : []} placeholder={fixed ? "" : "Add one, then Enter"} onChange={onSave} />;
  return <Written setting={setting} labelled={labelled} pending={pending} onSave={onSave} />;
}

interface WrittenProps extends Omit<FieldProps, "fixed"> {
  labelled: { "aria-labelledby": string; size: "xs"; disabled: boolean };
}

/** What is typed: saved with Enter or the button, let be with Escape. */
function Written({ setting, labelled, pending, onSave }: WrittenProps) {
  const before = String(setting.value);
  const [text, setText] = useState(before);
  const number = setting.kind !== "text";
  const read = Number(text);
  const wrong = number ? refused(setting, text, read) : null;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text !== before && !wrong) onSave(number ? read : text);
  };
  return (
    <form onSubmit={submit} className="setting-form">
      <TextInput
        {...labelled}
        value={text}
        inputMode={number ? "decimal" : "text"}
        error={wrong}
        classNames={{ input: number ? "mono right" : "mono" }}
        placeholder={number ? undefined : "empty"}
        onChange={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Escape" && setText(before)}
      />
      {text !== before && (
        <Button size="compact-sm" type="submit" disabled={wrong !== null} loading={pending}>
          Save
        </Button>
      )}
    </form>
  );
}

function refused({ kind, least, most }: Setting, text: string, read: number): string | null {
  if (text.trim() === "" || !Number.isFinite(read)) return "A number is needed.";
  if (kind === "whole number" && !Number.isInteger(read)) return "A whole number is needed.";
  if (least !== null && read < least) return `It is ${least} at least.`;
  if (most !== null && read > most) return `It is ${most.toLocaleString()} at most.`;
  return null;
}
