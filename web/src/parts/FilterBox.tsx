import { TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useEffect, useRef, useState } from "react";

interface FilterBoxProps {
  label: string;
  placeholder: string;
  width: number;
  text: string;
  /** Called a moment after the last key. */
  onChange: (text: string) => void;
  /** Escape and Enter lead there: a CSS selector of the list that is filtered. */
  list: string;
}

/** A text by which a list is filtered; the key / leads to it from anywhere on the page. */
export function FilterBox({ label, placeholder, width, text, onChange, list }: FilterBoxProps) {
  const [typed, setTyped] = useState(text);
  const input = useRef<HTMLInputElement>(null);
  const tell = useDebouncedCallback(onChange, 200);
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
      event.preventDefault();
      input.current?.select();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
  return (
    <TextInput
      ref={input} size="xs" w={width} type="search" placeholder={`${placeholder}  ( / )`} aria-label={label} value={typed}
      onChange={(event) => {
        setTyped(event.currentTarget.value);
        tell(event.currentTarget.value);
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape" || event.key === "Enter") document.querySelector<HTMLElement>(list)?.focus();
      }}
    />
  );
}

/** Whether keys go into a text there. */
const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
