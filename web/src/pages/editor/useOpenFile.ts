import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { ApiError } from "../../api/client";
import { type Aside, draftNow, useAside, useDraft } from "./drafts";
import { type Body, check, type Content, content, type Diagnostic, same, write } from "./queries";

const stamps = new WeakMap<Body, string>();
let stamped = 0;

/** A name for a body; the same one gets the same. */
function stampOf(body: Body): string {
  let stamp = stamps.get(body);
  if (!stamp) stamps.set(body, (stamp = `typed ${++stamped}`));
  return stamp;
}

const NONE: Diagnostic[] = [];

/** A file that is open: as it is on the disk, as it was written here, and what is wrong with it. */
export function useOpenFile(workspace: string, path: string) {
  const client = useQueryClient();
  const read = useQuery(content(workspace, path));
  const [draft, setDraft] = useDraft(workspace, path);
  const [aside, setAside] = useAside(workspace, path);
  const [saved, setSaved] = useState<{ tag: string; diagnostics: Diagnostic[] } | null>(null);
  const onDisk = read.data ?? null;
  const body: Body | null = draft ?? onDisk;
  const [settled] = useDebouncedValue(body, 500);
  const checked = useQuery(check(workspace, path, settled ? stampOf(settled) : "", settled));

  // Somebody else has written the very same: then there is nothing to be saved.
  useEffect(() => {
    if (draft && onDisk && same(draft, onDisk)) setDraft(null);
  }, [draft, onDisk, setDraft]);

  const edit = (changed: Body) => {
    if (!onDisk) return;
    const tag = draft?.tag ?? onDisk.tag;
    setDraft(tag === onDisk.tag && same(changed, onDisk) ? null : { text: changed.text, cells: changed.cells, tag });
  };

  const save = useMutation({
    mutationFn: async ({ tag, text, cells }: { tag: string } & Body) => {
      // An answer that was on its way would bring back what was there before.
      await client.cancelQueries({ queryKey: content(workspace, path).queryKey });
      return write(workspace, { path, tag, text, cells });
    },
    onSuccess: (answer, sent) => {
      client.setQueryData(
        content(workspace, path).queryKey,
        (known) => known && { ...known, tag: answer.tag, modified_at: answer.modified_at, text: sent.text, cells: sent.cells },
      );
      const now = draftNow(workspace, path);
      if (now) setDraft(same(now, sent) ? null : { ...now, tag: answer.tag });
      setSaved({ tag: answer.tag, diagnostics: answer.diagnostics });
      // The cells of old notebooks have no ids: they are named by their places.
      if (sent.cells) void client.invalidateQueries({ queryKey: content(workspace, path).queryKey });
      for (const what of ["flows", "overview", "sources", "flow"]) void client.invalidateQueries({ queryKey: [workspace, what] });
    },
    onError: (error) => {
      const now = error instanceof ApiError && error.code === "edit-conflict" ? (error.detail.now as Content | undefined) : undefined;
      if (now?.tag) client.setQueryData(content(workspace, path).queryKey, (known) => known && { ...known, ...now });
    },
  });

  /** One of the two stays, and the other is put aside, for it may have been the better one. */
  const settle = (whose: Aside["whose"], given: Body) =>
    setAside({ whose, at: new Date().toISOString(), text: given.text, cells: given.cells });

  const conflict = draft !== null && onDisk !== null && draft.tag !== onDisk.tag && !same(draft, onDisk);
  const diagnostics = useMemo(
    () => (draft === null && saved?.tag === onDisk?.tag ? saved?.diagnostics : checked.data?.diagnostics) ?? NONE,
    [draft, saved, onDisk?.tag, checked.data],
  );
  return {
    read,
    onDisk,
    body,
    draft,
    conflict,
    diagnostics,
    checking: checked.isFetching || settled !== body,
    edit,
    save,
    aside,
    forget: () => setAside(null),
    /** Saves what is written here, upon the version that it was begun from. */
    saveDraft: () => draft && !save.isPending && save.mutate(draft),
    keepMine: (mine: Body) => {
      if (!onDisk) return;
      settle("theirs", onDisk);
      setDraft({ text: mine.text, cells: mine.cells, tag: onDisk.tag });
      save.mutate({ text: mine.text, cells: mine.cells, tag: onDisk.tag });
    },
    takeTheirs: () => {
      if (draft) settle("yours", draft);
      setDraft(null);
    },
    bringBack: () => {
      if (!aside || !onDisk) return;
      const now = draft ?? onDisk;
      edit(aside);
      settle(aside.whose === "yours" ? "theirs" : "yours", now);
    },
  };
}

export type OpenFile = ReturnType<typeof useOpenFile>;
