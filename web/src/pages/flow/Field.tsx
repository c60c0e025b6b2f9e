import { Checkbox, PasswordInput, Select, TextInput } from "@mantine/core";
import type { Shape } from "../../api/client";

export type Value = string | boolean;

interface FieldProps {
  param: Shape["Param"];
  value: Value | undefined;
  error: string | null;
  first: boolean;
  onChange: (value: Value) => void;
}

const HINTS: Record<string, string> = { int: "a whole number", float: "a number", path: "a path on this machine" };

/** One typed input of a flow. Numbers are told as they were typed: the daemon says what does not fit. */
export function Field({ param, value, error, first, onChange }: FieldProps) {
  const label = param.label ?? param.name;
  const initial = param.default == null ? "" : String(param.default);
  const common = {
    name: param.name,
    label,
    error,
    size: "sm",
    required: param.required,
    "data-autofocus": first || undefined,
    description: param.label && param.label.toLowerCase() !== param.name.replaceAll("_", " ").toLowerCase() ? param.name : undefined,
  } as const;
  if (param.type === "bool")
    return (
      <Checkbox
        {...common}
        required={false}
        checked={typeof value === "boolean" ? value : param.default === true}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    );
  const text = typeof value === "string" ? value : initial;
  if (param.type === "choice")
    return (
      <Select
        {...common}
        data={param.choices.map(String)}
        value={text || null}
        placeholder="Choose one"
        onChange={(chosen) => onChange(chosen ?? "")}
        allowDeselect={!param.required}
        searchable={param.choices.length > 8}
      />
    );
  if (param.secret)
    return (
      <PasswordInput
        {...common}
        value={typeof value === "string" ? value : ""}
        autoComplete="off"
        placeholder={param.required ? undefined : "as it is set"}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    );
  return (
    <TextInput
      {...common}
      type={param.type === "date" ? "date" : "text"}
      inputMode={param.type === "int" ? "numeric" : param.type === "float" ? "decimal" : undefined}
      placeholder={HINTS[param.type]}
      value={text}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}
