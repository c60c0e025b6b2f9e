import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { ApiError } from "../../api/client";
import type { Selection, Source } from "../../parts/table/tables";

const FORMATS = [
  ["csv", "CSV"],
  ["xlsx", "Excel"],
  ["parquet", "Parquet"],
] as const;

/** The table as it is filtered and sorted, as a file to take along. */
export function Export({ workspace, source, selection }: { workspace: string; source: Source; selection: Selection }) {
  const work = useMutation({
    mutationFn: async (format: string) => {
      const answer = await fetch(`/api/v1/workspaces/${encodeURIComponent(workspace)}/tables/export`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...source, ...selection, format }),
      });
      if (!answer.ok) {
        const told = (await answer.json()) as { code: string; message: string; hint: string };
        throw new ApiError(told.code, told.message, told.hint, answer.status);
      }
      const named = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("content-disposition") ?? "")?.[1];
      download(await answer.blob(), named ? decodeURIComponent(named) : `table.${format}`);
    },
  });
  return (
    <>
      {work.error && (
        <span role="alert" className="state-failed" title={work.error instanceof ApiError ? work.error.hint : ""}>
          {work.error.message}
        </span>
      )}
      <span role="group" aria-label="Download" className="export">
        <span aria-hidden className="quiet">
          ⤓
        </span>
        {FORMATS.map(([format, name]) => (
          <Button
            key={format} size="compact-sm" variant="subtle" aria-label={`Download as ${name}`} disabled={work.isPending}
            loading={work.isPending && work.variables === format} onClick={() => work.mutate(format)}
          >
            {name}
          </Button>
        ))}
      </span>
    </>
  );
}

function download(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
