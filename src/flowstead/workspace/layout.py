"""Where things are: a workspace's shared folder, and its machine-local folder under the home."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from flowstead.model.errors import HomeUnwritable, WorkspaceNotFound


def home() -> Path:
    """The machine-local folder: `$FLOWSTEAD_HOME`, or the platform's user data folder."""
    chosen = os.environ.get("FLOWSTEAD_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("flowstead", appauthor=False)


@dataclass(frozen=True, slots=True)
class WorkspaceLayout:
    """The paths of one workspace: `root` is shared and human-owned, `local` is generated and disposable."""

    root: Path
    local: Path

    @classmethod
    def of(cls, root: Path, home_folder: Path | None = None) -> WorkspaceLayout:
        """The layout of the workspace at `root`; two workspaces of one name never share a `local`.

        Raises WorkspaceNotFound when `root` has no `flow_modules/`.
        """
        root = root.expanduser().resolve()
        if not (root / "flow_modules").is_dir():
            raise WorkspaceNotFound(f"{root} is not a workspace: it has no flow_modules/ folder.")
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        return cls(root, (home_folder or home()) / "workspaces" / f"{root.name}-{digest}")

    @property
    def workspace_id(self) -> str:
        return self.root.name

    @property
    def flow_modules(self) -> Path:
        return self.root / "flow_modules"

    @property
    def flow_helpers(self) -> Path:
        return self.root / "flow_modules" / "flow_helpers"

    @property
    def ledger(self) -> Path:
        return self.local / "ledger.sqlite3"

    @property
    def engine_lock(self) -> Path:
        return self.local / "engine.lock"

    @property
    def versions(self) -> Path:
        return self.local / "flows"

    @property
    def inbox(self) -> Path:
        """Requests (such as a cancellation) from other processes to the engine that holds this workspace."""
        return self.local / "inbox"

    def run_folder(self, run_id: str) -> Path:
        return self.local / "runs" / run_id

    def prepare(self) -> None:
        """Make the machine-local folders. Raises HomeUnwritable when that is not possible."""
        try:
            for folder in (self.local, self.versions, self.inbox, self.local / "runs"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomeUnwritable(f"Cannot write to {self.local}: {error.strerror or error}.") from error


def find_workspace(start: Path | None = None, chosen: str | Path | None = None) -> Path:
    """The workspace to use: `chosen`, else `$FLOWSTEAD_WORKSPACE`, else the nearest parent with `flow_modules/`.

    Raises WorkspaceNotFound, naming where it looked.
    """
    named = chosen or os.environ.get("FLOWSTEAD_WORKSPACE")
    if named:
        root = Path(named).expanduser().absolute()
        if not (root / "flow_modules").is_dir():
            raise WorkspaceNotFound(f"{root} is not a workspace: it has no flow_modules/ folder.")
        return root
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / "flow_modules").is_dir():
            return folder
    raise WorkspaceNotFound(f"No workspace here: neither {here} nor a parent folder has flow_modules/.")
