import { TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router";

interface SearchProps {
  label: string;
  width?: number;
}

/** A box for words to look for, which stand in the address as `find`. Slash goes to it, Escape empties it. */
export function Search({ label, width }: SearchProps) {
  const [address, setAddress] = useSearchParams();
  const wanted = address.get("find") ?? "";
  const [typed, setTyped] = useState(wanted);
  const sent = useRef(wanted);
  const box = useRef<HTMLInputElement>(null);
  const send = useDebouncedCallback((text: string) => {
    sent.current = text;
    setAddress(text ? { find: text } : {}, { replace: true });
  }, 150);
  // The address follows a moment later; only what did not come from here is taken from it.
  useEffect(() => {
    if (wanted === sent.current) return;
    sent.current = wanted;
    setTyped(wanted);
  }, [wanted]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "/" || (event.target as HTMLElement).closest("input, textarea, [contenteditable], [role=dialog]")) return;
      event.preventDefault();
      box.current?.focus();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  const change = (text: string) => {
    setTyped(text);
    send(text);
  };
  return (
    <TextInput
      ref={box}
      size="xs"
      w={width}
      type="search"
      aria-label={label}
      placeholder={`${label}  /`}
      value={typed}
      onChange={(event) => change(event.currentTarget.value)}
      onKeyDown={(event) => event.key === "Escape" && change("")}
    />
  );
}
