import { LanguageSupport, StreamLanguage } from "@codemirror/language";
import type { Language } from "./language";

/** How a language is read. Each is a file of its own, loaded when it is first shown. */
export async function reading(language: Language): Promise<LanguageSupport | null> {
  switch (language) {
    case "python":
      return (await import("@codemirror/lang-python")).python();
    case "sql":
      return (await import("@codemirror/lang-sql")).sql();
    case "json":
      return (await import("@codemirror/lang-json")).json();
    case "markdown":
      return (await import("@codemirror/lang-markdown")).markdown();
    case "toml":
      return new LanguageSupport(StreamLanguage.define((await import("@codemirror/legacy-modes/mode/toml")).toml));
    case "text":
      return null;
  }
}
