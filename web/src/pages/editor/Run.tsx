import { Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { overview, useRefusal, whatIsDue } from "../../api/queries";
import { useRunFlow } from "../flow/starting";
import type { OpenFile } from "./useOpenFile";

const RunForm = lazy(() => import("../flow/RunForm"));

/** Runs the flow as it is on the disk; one that asks for something asks first. */
export function Run({ workspace, flow, file }: { workspace: string; flow: string; file: OpenFile }) {
  const [asking, setAsking] = useState(false);
  const start = useRunFlow(workspace, flow);
  const known = useQuery(overview(workspace)).data?.flows.find((each) => each.name === flow);
  const broken = file.diagnostics.some((each) => each.severity === "error");
  const refusal = useRefusal(workspace);
  const reason = refusal ?? (file.draft ? "Save it first: what is on the disk runs" : broken ? "Mend it first" : undefined);
  return (
    <>
      {(start.error || start.told) && (
        <Text size="xs" className={start.error ? "state-failed" : "quiet"} role="alert">
          {start.error?.message ?? start.told}
        </Text>
      )}
      <Button
        size="compact-sm"
        variant="light"
        disabled={reason !== undefined}
        title={reason}
        loading={start.pending}
        onClick={() => (known?.params ? setAsking(true) : start.run(whatIsDue(known?.trigger?.source)))}
      >
        Run
      </Button>
      <Suspense>{asking && <RunForm workspace={workspace} flow={flow} opened onClose={() => setAsking(false)} />}</Suspense>
    </>
  );
}
