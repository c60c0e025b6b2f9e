import { Button, Progress, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { ApiError, type Shape } from "../../api/client";
import { State } from "../../parts/State";

const GLYPH: Record<string, string> = { ready: "ok", failed: "failed", queued: "queued", building: "running", cold: "queued" };
const WORDS: Record<string, string> = {
  ready: "built",
  failed: "could not be built",
  queued: "waits for its turn to be built",
  building: "being built",
  cold: "put away; the next run brings it back",
};

/** How an environment stands, with the progress of its build. */
export function BuildState({ built }: { built: Shape["Environment"] }) {
  const { progress } = built;
  return (
    <div>
      <span className="line-up">
        <State bare status={GLYPH[built.state] ?? built.state} /> {WORDS[built.state] ?? built.state}
      </span>
      {progress && (
        <>
          <Text size="sm" className="quiet" role="status">
            {progress.message || progress.phase}
            {progress.total ? ` · ${progress.done ?? 0} of ${progress.total}` : ""}
          </Text>
          <Progress
            size="sm"
            value={progress.total ? (100 * (progress.done ?? 0)) / progress.total : 100}
            animated={!progress.total}
            aria-label="Progress of the build"
          />
        </>
      )}
      {built.error && (
        <>
          <Text size="sm" className="state-failed">
            {built.error.message}
          </Text>
          {built.error.hint && <Text size="sm">{built.error.hint}</Text>}
        </>
      )}
    </div>
  );
}

/** Has the environment built now. */
export function Prepare({ workspace, name, failed }: { workspace: string; name: string; failed: boolean }) {
  const client = useQueryClient();
  const look = () => client.invalidateQueries({ queryKey: [workspace, "flow", name] });
  const build = useMutation({
    mutationFn: async () => {
      const asked = fetch(`/api/v1/workspaces/${workspace}/flows/${encodeURIComponent(name)}/environment`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
      });
      // The build has begun by then; how far it is comes with the environment itself.
      window.setTimeout(() => void look(), 500);
      const answer = await asked;
      const told = await answer.text();
      const failure = /event: failure\ndata: (.*)/.exec(told)?.[1] ?? (answer.ok ? undefined : told);
      if (!failure) return;
      const { code, message, hint } = JSON.parse(failure) as Shape["Error"];
      throw new ApiError(code, message, hint, answer.status);
    },
    onSettled: look,
  });
  return (
    <>
      <Button size="compact-sm" variant="light" mt={8} loading={build.isPending} onClick={() => build.mutate()}>
        {failed ? "Try again to build it" : "Build it now"}
      </Button>
      {build.error && (
        <Text size="sm" className="state-failed" role="alert">
          {build.error.message} {build.error instanceof ApiError && build.error.hint}
        </Text>
      )}
    </>
  );
}
