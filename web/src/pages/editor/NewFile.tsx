import { Button, Group, Modal, SegmentedControl, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useNavigate } from "react-router";
import { Trouble } from "../../parts/Trouble";
import { create } from "./queries";

const KINDS = {
  flow: { label: "Flow", before: "flow_modules/", after: ".py" },
  notebook: { label: "Notebook", before: "flow_modules/", after: ".ipynb" },
  helper: { label: "Helper", before: "flow_modules/flow_helpers/", after: ".py" },
  config: { label: "Configuration", before: "config/", after: ".toml" },
} as const;
type Kind = keyof typeof KINDS;

/** Makes a file from a small template that runs as it stands. */
export function NewFile({ workspace, opened, onClose }: { workspace: string; opened: boolean; onClose: () => void }) {
  const [kind, setKind] = useState<Kind>("flow");
  const [name, setName] = useState("");
  const client = useQueryClient();
  const navigate = useNavigate();
  const { before, after } = KINDS[kind];
  const stem = name.trim().endsWith(after) ? name.trim().slice(0, -after.length) : name.trim();
  const path = `${before}${stem}${after}`;
  const make = useMutation({
    mutationFn: () => create(workspace, path),
    onSuccess: async () => {
      setName("");
      onClose();
      await client.invalidateQueries({ queryKey: [workspace, "sources"] });
      void client.invalidateQueries({ queryKey: [workspace, "overview"] });
      navigate(`?path=${encodeURIComponent(path)}`);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (stem) make.mutate();
  };
  return (
    <Modal opened={opened} onClose={onClose} title="New file">
      <form onSubmit={submit} style={{ display: "grid", gap: 12 }}>
        <SegmentedControl
          aria-label="Kind"
          size="xs"
          value={kind}
          onChange={(value) => setKind(value as Kind)}
          data={Object.entries(KINDS).map(([value, { label }]) => ({ value, label }))}
        />
        <TextInput
          label="Name"
          size="xs"
          data-autofocus
          value={name}
          placeholder={kind === "config" ? "limits" : "clean_orders"}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Text size="xs" className="quiet mono">{stem ? path : `${before}…${after}`}</Text>
        {make.error && <Trouble error={make.error} />}
        <Group justify="flex-end" gap="sm">
          <Button size="compact-sm" variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button size="compact-sm" type="submit" disabled={!stem} loading={make.isPending}>
            Create
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
