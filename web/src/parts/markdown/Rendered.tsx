import "./markdown.css";
import { type ComponentPropsWithoutRef, useEffect, useMemo } from "react";
import ReactMarkdown, { type Components, type ExtraProps } from "react-markdown";
import { Link } from "react-router";
import remarkGfm from "remark-gfm";
import type { Language } from "../code/language";
import type { MarkdownProps } from "../Markdown";
import { Snippet } from "./Snippet";

const LANGUAGES: Record<string, Language> = { python: "python", py: "python", toml: "toml", sql: "sql", json: "json", markdown: "markdown" };

export default function Rendered({ text, image, link, anchors, onShown }: MarkdownProps) {
  useEffect(() => onShown?.(), [onShown]);
  const components = useMemo(() => made({ image, link, anchors }), [image, link, anchors]);
  return (
    <div className="markdown">
      <ReactMarkdown remarkPlugins={[remarkGfm]} components={components}>
        {text}
      </ReactMarkdown>
    </div>
  );
}

function made({ image, link, anchors }: Omit<MarkdownProps, "text">): Components {
  const heading = (Level: "h1" | "h2" | "h3" | "h4" | "h5" | "h6") =>
    function Heading({ node, ...props }: ComponentPropsWithoutRef<"h1"> & ExtraProps) {
      return <Level {...props} id={anchors?.get(node?.position?.start.line ?? 0)} tabIndex={anchors ? -1 : undefined} />;
    };
  return {
    h1: heading("h1"),
    h2: heading("h2"),
    h3: heading("h3"),
    h4: heading("h4"),
    h5: heading("h5"),
    h6: heading("h6"),
    a: ({ node: _, href = "", children }) => {
      const inside = link?.(href);
      if (inside) return <Link to={inside}>{children}</Link>;
      return (
        <a href={href} target="_blank" rel="noreferrer noopener">
          {children}
        </a>
      );
    },
    img: ({ node: _, src, alt = "" }) => {
      const read = typeof src === "string" ? image?.(src) : null;
      return read ? <img src={read} alt={alt} loading="lazy" /> : <em>{alt || "an image"}</em>;
    },
    pre: ({ node }) => {
      const code = node?.children[0];
      if (code?.type !== "element") return null;
      const written = code.children.map((each) => (each.type === "text" ? each.value : "")).join("").replace(/\n$/, "");
      const [name = ""] = [code.properties.className].flat().map((each) => String(each ?? "").replace(/^language-/, ""));
      return <Snippet text={written} language={LANGUAGES[name] ?? "text"} />;
    },
    table: ({ node: _, ...props }) => (
      <div className="wide">
        <table {...props} />
      </div>
    ),
  };
}
