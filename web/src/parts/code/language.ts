export type Language = "python" | "toml" | "sql" | "json" | "markdown" | "text";

const ENDINGS: Record<string, Language> = {
  py: "python", ipynb: "json", toml: "toml", lock: "toml", sql: "sql", json: "json", md: "markdown",
};

/** The language of a file, by the ending of its name. */
export function languageOf(path: string): Language {
  return ENDINGS[path.slice(path.lastIndexOf(".") + 1).toLowerCase()] ?? "text";
}
