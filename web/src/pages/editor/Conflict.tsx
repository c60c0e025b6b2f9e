import { Button, Group, Modal, Text } from "@mantine/core";
import { useState } from "react";
import { CodeDiff } from "../../parts/code/CodeDiff";
import type { Language } from "../../parts/code/language";
import { languageOf } from "../../parts/code/language";
import { Ago } from "../../parts/Times";
import { asBody, asText } from "./percent";
import type { OpenFile } from "./useOpenFile";

/** Two wrote one file: which of the two stays, or what of each. Whatever gives way is kept aside. */
export function Conflict({ file, path, onClose }: { file: OpenFile; path: string; onClose: () => void }) {
  const { onDisk, draft } = file;
  const [merged, setMerged] = useState<string | null>(null);
  if (!onDisk || !draft) return null;
  const mine = asText(draft);
  const language = path.endsWith(".ipynb") ? "python" : languageOf(path);
  const done = (act: () => void) => () => {
    act();
    onClose();
  };
  return (
    <Modal opened onClose={onClose} size="90%" title={`${path} was changed by somebody else`}>
      <div style={{ display: "grid", gap: 12 }}>
        <Text size="sm">
          On the left is what is on the disk now, saved <Ago at={onDisk.modified_at} />. On the right is yours: edit it, and take over
          changes with the arrows. The version that gives way is kept here until you say that it may go.
        </Text>
        <CodeDiff
          before={asText(onDisk)}
          after={mine}
          language={language}
          beforeLabel="On the disk: theirs"
          afterLabel="Yours"
          onChange={setMerged}
          maxHeight="55vh"
        />
        <Group justify="flex-end" gap="sm">
          <Button size="compact-sm" variant="default" onClick={onClose}>
            Decide later
          </Button>
          <Button size="compact-sm" variant="default" onClick={done(file.takeTheirs)}>
            Take theirs
          </Button>
          {merged !== null && merged !== mine ? (
            <Button size="compact-sm" onClick={done(() => file.keepMine(asBody(merged, draft)))}>
              Save what is on the right
            </Button>
          ) : (
            <Button size="compact-sm" onClick={done(() => file.keepMine(draft))}>
              Keep mine
            </Button>
          )}
        </Group>
      </div>
    </Modal>
  );
}

/** The version that gave way last: to be looked at, brought back, or forgotten. */
export function Kept({ file, language }: { file: OpenFile; language: Language }) {
  const [open, setOpen] = useState(false);
  const { aside, body } = file;
  if (!aside || !body) return null;
  const name = aside.whose === "yours" ? "Your version" : "Their version";
  return (
    <div className="editor-kept">
      <span>
        {name}, which gave way <Ago at={aside.at} />, is kept.
      </span>
      <span className="grow" />
      <Button size="compact-xs" variant="default" onClick={() => setOpen(true)}>
        Compare
      </Button>
      <Button size="compact-xs" variant="default" onClick={file.bringBack}>
        Bring it back
      </Button>
      <Button size="compact-xs" variant="subtle" color="gray" onClick={file.forget}>
        Forget it
      </Button>
      {open && (
        <Modal opened onClose={() => setOpen(false)} size="90%" title={`${name}, and what is in the editor`}>
          <CodeDiff
            before={asText(aside)}
            after={asText(body)}
            language={language === "json" ? "python" : language}
            beforeLabel={name}
            afterLabel="In the editor"
            maxHeight="60vh"
          />
        </Modal>
      )}
    </div>
  );
}
