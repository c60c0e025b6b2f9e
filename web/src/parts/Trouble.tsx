import { Alert, Code, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { ApiError } from "../api/client";

/** What a query could not do: what, and what now. */
export function Trouble({ error }: { error: Error }) {
  const hint = error instanceof ApiError ? error.hint : "";
  return (
    <Alert color="red" variant="light" title={error.message} role="alert">
      {hint && <Text size="sm">{hint}</Text>}
    </Alert>
  );
}

/** A list without anything in it teaches the next step. */
export function Empty({ children, command }: { children: ReactNode; command?: string }) {
  return (
    <div style={{ padding: "28px 16px", textAlign: "center" }}>
      <Text size="sm" className="quiet">
        {children}
      </Text>
      {command && (
        <Code mt={8} style={{ display: "inline-block", whiteSpace: "pre", textAlign: "start" }}>
          {command}
        </Code>
      )}
    </div>
  );
}
