import { Button, Group, Modal, Text } from "@mantine/core";
import { useState } from "react";
import { type Cell, type Column, shown } from "../../parts/table/tables";

export interface OpenCell {
  row: number;
  column: Column;
  value: Cell;
  cut: boolean;
}

/** The whole text of one cell. */
export function CellText({ cell, onClose }: { cell: OpenCell | null; onClose: () => void }) {
  const [copied, setCopied] = useState(false);
  const text = !cell || cell.value === null ? "" : typeof cell.value === "object" ? JSON.stringify(cell.value, null, 2) : shown(cell.value);
  const copy = () =>
    void navigator.clipboard.writeText(text).then(() => {
      setCopied(true);
      window.setTimeout(() => setCopied(false), 1200);
    });
  return (
    <Modal opened={cell !== null} onClose={onClose} size="lg" title={cell && `${cell.column.name}, row ${(cell.row + 1).toLocaleString("en-US")}`}>
      <pre className="cell-text mono" tabIndex={0}>
        {cell?.value === null ? <span className="table-null">null</span> : text}
      </pre>
      <Group justify="space-between" mt="sm">
        <Text size="xs" className="quiet">
          {cell?.column.type}
          {cell?.cut && " · cut after 1,000 characters; an export has all of it"}
        </Text>
        <Button size="compact-sm" variant="default" onClick={copy}>
          {copied ? "Copied" : "Copy"}
        </Button>
      </Group>
    </Modal>
  );
}
