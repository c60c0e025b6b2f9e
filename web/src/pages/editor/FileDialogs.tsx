import { Button, Group, Modal, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useNavigate } from "react-router";
import { Trouble } from "../../parts/Trouble";
import { moveDraft } from "./drafts";
import { type Content, remove, rename } from "./queries";

interface DialogProps {
  workspace: string;
  file: Content;
  onClose: () => void;
}

/** Gives a file another name; its folder and ending stay. */
export function Rename({ workspace, file, onClose }: DialogProps) {
  const start = file.kind === "helper" ? "flow_modules/flow_helpers/" : file.path.slice(0, file.path.lastIndexOf("/") + 1);
  const ending = file.path.slice(file.path.lastIndexOf("."));
  const [name, setName] = useState(file.path.slice(start.length, -ending.length));
  const to = `${start}${name.trim()}${ending}`;
  const client = useQueryClient();
  const navigate = useNavigate();
  const act = useMutation({
    mutationFn: () => rename(workspace, file.path, to, file.tag),
    onSuccess: async () => {
      moveDraft(workspace, file.path, to);
      await client.invalidateQueries({ queryKey: [workspace, "sources"] });
      void client.invalidateQueries({ queryKey: [workspace, "overview"] });
      onClose();
      navigate(`?path=${encodeURIComponent(to)}`, { replace: true });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name.trim() && to !== file.path) act.mutate();
  };
  return (
    <Modal opened onClose={onClose} title={`Rename ${file.path}`}>
      <form onSubmit={submit} style={{ display: "grid", gap: 12 }}>
        <TextInput label="Name" size="xs" data-autofocus value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <Text size="xs" className="quiet mono">{to}</Text>
        {file.flow && <Text size="sm">The runs and versions of {file.flow} stay under its old name.</Text>}
        {file.kind === "helper" && <Text size="sm">Flows that import it by its old name break; they are listed afterwards.</Text>}
        {act.error && <Trouble error={act.error} />}
        <Group justify="flex-end" gap="sm">
          <Button size="compact-sm" variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button size="compact-sm" type="submit" disabled={!name.trim() || to === file.path} loading={act.isPending}>
            Rename
          </Button>
        </Group>
      </form>
    </Modal>
  );
}

/** Deletes a file, after saying what goes with it. */
export function Delete({ workspace, file, onClose }: DialogProps) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const act = useMutation({
    mutationFn: () => remove(workspace, file.path, file.tag),
    onSuccess: async () => {
      moveDraft(workspace, file.path, null);
      onClose();
      navigate("?", { replace: true });
      await client.invalidateQueries({ queryKey: [workspace, "sources"] });
      void client.invalidateQueries({ queryKey: [workspace, "overview"] });
    },
  });
  return (
    <Modal opened onClose={onClose} title={`Delete ${file.path}?`}>
      <div style={{ display: "grid", gap: 12 }}>
        <Text size="sm">
          {file.flow
            ? `The flow ${file.flow} is gone then. Its runs stay, with the versions of it that they ran.`
            : "The file is gone then, for everybody who shares this workspace. Flows that need it break."}
        </Text>
        {act.error && <Trouble error={act.error} />}
        <Group justify="flex-end" gap="sm">
          <Button size="compact-sm" variant="default" data-autofocus onClick={onClose}>
            Keep it
          </Button>
          <Button size="compact-sm" color="red" loading={act.isPending} onClick={() => act.mutate()}>
            Delete
          </Button>
        </Group>
      </div>
    </Modal>
  );
}
