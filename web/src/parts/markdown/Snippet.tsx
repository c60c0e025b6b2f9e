import "../code/code.css";
import { useQuery } from "@tanstack/react-query";
import type { Language } from "../code/language";

interface Piece {
  text: string;
  classes: string;
}

/** A few lines of code in a text, coloured once the language is there. */
export function Snippet({ text, language }: { text: string; language: Language }) {
  const pieces = useQuery({
    queryKey: ["snippet", language, text],
    queryFn: () => coloured(text, language),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    enabled: language !== "text",
  });
  return (
    <pre tabIndex={0}>
      <code>
        {pieces.data?.map((piece, index) => (
          <span key={index} className={piece.classes}>
            {piece.text}
          </span>
        )) ?? text}
      </code>
    </pre>
  );
}

async function coloured(text: string, language: Language): Promise<Piece[]> {
  const [{ highlightCode }, { colours }, { reading }] = await Promise.all([
    import("@lezer/highlight"),
    import("../code/look"),
    import("../code/reading"),
  ]);
  const support = await reading(language);
  const pieces: Piece[] = [];
  if (!support) return [{ text, classes: "" }];
  const add = (piece: string, classes: string) => void pieces.push({ text: piece, classes });
  highlightCode(text, support.language.parser.parse(text), colours, add, () => add("\n", ""));
  return pieces;
}
