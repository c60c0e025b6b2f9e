import { useNavigate } from "react-router";
import type { Shape } from "../../api/client";
import { count } from "../../parts/words";
import { type StartBody, useStart } from "../../api/queries";

/** Starts a flow, and goes where its run is, or its runs are; `told` is what came of it where there is none. */
export function useRunFlow(workspace: string, name: string) {
  const navigate = useNavigate();
  const start = useStart(workspace);
  return {
    pending: start.isPending,
    error: start.error,
    told: start.data && nothing(start.data),
    reset: start.reset,
    run: (body: StartBody, done?: () => void) =>
      start.mutate({ name, body }, {
        onSuccess: (answer) => {
          const runs = [...answer.started, ...answer.resumed, ...answer.waiting];
          if (runs.length === 0) return;
          done?.();
          void navigate(runs.length === 1 ? `/w/${workspace}/runs/${runs[0]}` : `/w/${workspace}/runs?flow=${encodeURIComponent(name)}`);
        },
      }),
  };
}

/** Why nothing runs, in words; null where something does. */
function nothing({ started, resumed, waiting, files, failed_before }: Shape["Started"]): string | null {
  if (started.length + resumed.length + waiting.length > 0) return null;
  if (files == null) return "Nothing is due.";
  if (files === 0) return "There is no file in its source folder yet.";
  const failed = failed_before ? ` ${count(failed_before, "file")} failed before and did not change since.` : "";
  return `Nothing is due: none of its ${count(files, "file")} is new or has changed.${failed}`;
}
