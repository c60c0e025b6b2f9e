import { Kbd, Modal } from "@mantine/core";
import { lazy, Suspense, useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { addressOf, PAGES } from "./pages";

const Palette = lazy(() => import("./Palette"));

/** Keys that work on every page; each page has its own besides. */
const KEYS: [string, string][] = [
  ["Ctrl K  ⌘ K", "Find a flow or a run, or do something"],
  ["g, then a letter", PAGES.map(({ name, key }) => `${key} ${name}`).join(" · ")],
  ["↑ ↓  j k", "In a list: move"],
  ["Enter", "Open what is chosen"],
  ["x", "In a list of runs: select; a all of them, c copies the id"],
  ["/", "Go to the filter or the search"],
  ["Ctrl S  ⌘ S", "Save, in the editor"],
  ["Esc", "Leave a field or a dialog"],
  ["?", "These keys"],
];

let open = () => {};
export const openPalette = (): void => open();

const isWriting = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** Listens for the keys of every page, and shows what they open. */
export function Keys({ workspace }: { workspace: string }) {
  const navigate = useNavigate();
  const [shown, setShown] = useState<"palette" | "keys" | null>(null);
  open = () => setShown("palette");
  useEffect(() => {
    let going = false;
    const press = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setShown((now) => (now === "palette" ? null : "palette"));
        return;
      }
      if (event.metaKey || event.ctrlKey || event.altKey || isWriting(event.target)) return;
      if (document.querySelector('[role="dialog"]')) return;
      const page = going && PAGES.find(({ key }) => key === event.key);
      going = !going && event.key === "g";
      if (page) {
        // The page that is left must not take the letter for one of its own.
        event.preventDefault();
        event.stopImmediatePropagation();
        void navigate(addressOf(workspace, page.path));
      } else if (event.key === "?") setShown("keys");
    };
    window.addEventListener("keydown", press, { capture: true });
    return () => window.removeEventListener("keydown", press, { capture: true });
  }, [navigate, workspace]);
  return (
    <>
      <Suspense>{shown === "palette" && <Palette workspace={workspace} onClose={() => setShown(null)} />}</Suspense>
      <Modal opened={shown === "keys"} onClose={() => setShown(null)} title="Keys" size="lg">
        <table className="rows keys">
          <tbody>
            {KEYS.map(([keys, what]) => (
              <tr key={keys}>
                <td>
                  {keys.split("  ").map((each) => (
                    <Kbd key={each} mr={4}>
                      {each}
                    </Kbd>
                  ))}
                </td>
                <td>{what}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Modal>
    </>
  );
}
