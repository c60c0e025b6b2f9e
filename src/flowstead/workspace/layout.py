"""Where things are: a workspace's shared folder, and its machine-local folder under the home."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from flowstead.model.errors import HomeUnwritable, WorkspaceNotFound
from flowstead.model.home import home


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
    def deadline(self) -> Path:
        """Until when this machine owns the workspace, for its workers to see; see worker.deadline."""
        return self.local / "deadline"

    @property
    def shared_state(self) -> Path:
        """What the workstations that share this workspace tell each other."""
        return self.root / ".workspace_state"

    @property
    def inbox(self) -> Path:
        """Requests (such as a cancellation) from other processes to the engine that holds this workspace."""
        return self.local / "inbox"

    @property
    def key(self) -> str:
        """The name of this workspace on this machine, unlike that of any other one here."""
        return self.local.name

    def root_key(self, source: Path) -> str:
        """A source's absolute root as it is recorded: relative to the workspace where both are on one share.

        Workstations may have the share at different places; what is elsewhere is recorded as it is.
        """
        return recorded_root(str(source), str(self.root), os.path)

    def root_path(self, key: str) -> Path:
        """The absolute root that a recorded one stands for on this machine."""
        return Path(os.path.normpath(self.root / key))

    def run_folder(self, run_id: str) -> Path:
        return self.local / "runs" / run_id

    def prepare(self) -> None:
        """Make the machine-local folders. Raises HomeUnwritable when that is not possible."""
        try:
            for folder in (self.local, self.versions, self.inbox, self.local / "runs"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomeUnwritable(f"Cannot write to {self.local}: {error.strerror or error}.") from error


def recorded_root(source: str, workspace: str, paths: ModuleType) -> str:
    """What `WorkspaceLayout.root_key` gives, for paths as the module `paths` (posixpath or ntpath) takes them."""
    try:
        common: str = paths.commonpath([source, workspace])
    except ValueError:  # another drive
        return source
    if common == "/":
        return source  # below the root of a POSIX system anything may be mounted; a drive is one share, or one disk
    return paths.relpath(source, workspace).replace(paths.sep, "/")


def find_workspace(start: Path | None = None, chosen: str | Path | None = None) -> Path:
    """The workspace to use: `chosen`, else `$FLOWSTEAD_WORKSPACE`, else the nearest parent with `flow_modules/`.

    Without any of these it is the one that was selected on this machine.

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
    from flowstead.workspace.known import selected_workspace

    selected = selected_workspace()
    if selected is None:
        raise WorkspaceNotFound(f"No workspace here: neither {here} nor a parent folder has flow_modules/.")
    if not (selected / "flow_modules").is_dir():
        raise WorkspaceNotFound(f"No workspace here, and the selected one, {selected}, is not to be found.")
    return selected
