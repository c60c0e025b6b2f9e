import { syntaxHighlighting } from "@codemirror/language";
import { Compartment, type Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { tagHighlighter, tags } from "@lezer/highlight";
import type { Language } from "./language";
import { reading } from "./reading";

const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? "";

/** Which parts of a text are coloured; the colours are in code.css, for both themes. */
export const colours = tagHighlighter([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword, tags.self], class: "code-keyword" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], class: "code-string" },
  { tag: [tags.number, tags.bool, tags.null, tags.atom], class: "code-number" },
  { tag: [tags.definition(tags.variableName), tags.definition(tags.propertyName), tags.function(tags.definition(tags.variableName)), tags.className, tags.meta, tags.propertyName], class: "code-name" },
  { tag: tags.comment, class: "code-comment" },
  { tag: [tags.heading, tags.strong], class: "code-strong" },
  { tag: [tags.link, tags.url], class: "code-link" },
  { tag: tags.invalid, class: "code-wrong" },
]);

const shape = EditorView.theme({
  "&": { fontSize: "12px", backgroundColor: "transparent", color: "inherit" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mantine-font-family-monospace)", lineHeight: "18px", fontVariantLigatures: "none" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--mantine-color-text)" },
  ".cm-line": { padding: "0 12px 0 8px" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--mantine-color-text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground, .cm-content ::selection": {
    backgroundColor: "var(--code-selected) !important",
  },
  ".cm-activeLine": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine": { backgroundColor: "var(--hover)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--quiet)", border: "0" },
  ".cm-activeLineGutter": { backgroundColor: "transparent", color: "inherit" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 8px 0 12px", minWidth: "36px" },
  ".cm-marked": { backgroundColor: "var(--code-marked) !important" },
  "&.cm-focused .cm-matchingBracket, .cm-matchingBracket": { backgroundColor: "var(--code-selected)", outline: "none" },
  ".cm-searchMatch": { backgroundColor: "var(--code-marked)", outline: "1px solid var(--line)" },
  ".cm-searchMatch-selected, .cm-selectionMatch": { backgroundColor: "var(--code-selected)" },
  ".cm-panels": { backgroundColor: "var(--ground)", color: "inherit", borderColor: "var(--line)" },
  ".cm-panel input, .cm-panel button": {
    background: "var(--panel)", color: "inherit", border: "1px solid var(--line)", borderRadius: "3px", fontFamily: "inherit",
  },
  ".cm-panel label": { fontFamily: "var(--mantine-font-family)" },
  ".cm-tooltip": { backgroundColor: "var(--panel)", color: "inherit", border: "1px solid var(--line)", borderRadius: "6px" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--chosen)", color: "inherit" },
  ".cm-foldPlaceholder": { backgroundColor: "var(--hover)", color: "var(--quiet)", border: "0" },
  ".cm-collapsedLines": { background: "var(--hover)", color: "var(--quiet)" },
  // Its ornaments are signs that few fonts have.
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: "none" },
  "&.cm-merge-a .cm-changedLine, .cm-deletedChunk": { backgroundColor: "var(--code-removed) !important" },
  "&.cm-merge-b .cm-changedLine, .cm-insertedLine": { backgroundColor: "var(--code-added) !important" },
  "&.cm-merge-a .cm-changedText, .cm-deletedChunk .cm-deletedText": { background: "none", textDecoration: "underline", textDecorationColor: "var(--failed)" },
  "&.cm-merge-b .cm-changedText": { background: "none", textDecoration: "underline", textDecorationColor: "var(--succeeded)" },
  "&.cm-merge-a .cm-changedLineGutter": { background: "var(--failed)" },
  "&.cm-merge-b .cm-changedLineGutter": { background: "var(--succeeded)" },
});

/** What every view of code has: the console's looks, and styles that the page's policy lets in. */
export function look(label: string): Extension {
  return [
    EditorView.cspNonce.of(nonce),
    shape,
    syntaxHighlighting(colours),
    EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", autocapitalize: "off" }),
  ];
}

/** Room for a language that is still being loaded, and what puts it in once it is there. */
export function languageRoom(language: Language): { room: Extension; fill: (view: EditorView) => void } {
  const part = new Compartment();
  return {
    room: part.of([]),
    fill: (view) =>
      void reading(language).then((support) => {
        if (support && view.dom.isConnected) view.dispatch({ effects: part.reconfigure(support) });
      }),
  };
}
