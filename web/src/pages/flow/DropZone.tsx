import { useEffect, useEffectEvent, useState } from "react";

interface DropZoneProps {
  /** What is shown while files are held over the page. */
  invitation: string;
  /** Why nothing can be dropped; null where it can. */
  refusal: string | null;
  onFiles: (files: File[]) => void;
}

/** Lets files be dropped anywhere on the page. */
export function DropZone({ invitation, refusal, onFiles }: DropZoneProps) {
  const [over, setOver] = useState(false);
  const taken = useEffectEvent((transfer: DataTransfer) => {
    if (refusal !== null) return;
    // Folders come as files that nobody can read.
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
    const files = [...transfer.files].filter((_, index) => !entries[index]?.isDirectory);
    if (files.length > 0) onFiles(files);
  });
  useEffect(() => {
    // Each element that is entered is left later: between the two, files are held over the page.
    let inside = 0;
    const brings = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent) => {
      if (!brings(event)) return;
      inside++;
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (!brings(event)) return;
      inside = Math.max(0, inside - 1);
      if (inside === 0) setOver(false);
    };
    const hold = (event: DragEvent) => {
      if (!brings(event)) return;
      event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      if (!brings(event)) return;
      event.preventDefault();
      inside = 0;
      setOver(false);
      if (event.dataTransfer) taken(event.dataTransfer);
    };
    window.addEventListener("dragenter", enter);
    window.addEventListener("dragleave", leave);
    window.addEventListener("dragover", hold);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("dragenter", enter);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("dragover", hold);
      window.removeEventListener("drop", drop);
    };
  }, []);
  if (!over) return null;
  return (
    <div className="drop-zone" data-refused={refusal !== null || undefined}>
      <p>{refusal ?? invitation}</p>
    </div>
  );
}
