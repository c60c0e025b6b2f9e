"""What owners and those who want to be tell each other in small Parquet files, and how long it has been unchanged.

A lease is the owner's sign of life, a control request asks the owner for the workspace. Both are rows that any tool
can read; the marker folders beside them show the same by mere file names. None of it decides who owns.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from flowstead.model.errors import StorageError
from flowstead.model.run import iso
from flowstead.workspace.shared import SharedFolder


class Lease(NamedTuple):
    """The owner as of its last heartbeat. Times are microseconds by the owner's wall clock, for people.

    `status` is `active` or `released`; `beat` counts the heartbeats of one epoch; `snapshot_generation` is the last
    generation that was published.
    """

    workspace_id: str
    machine_id: str
    host: str
    daemon_id: str
    pid: int
    status: str
    started: int
    last_checkpoint: int
    app_version: str
    snapshot_generation: int
    epoch: int
    beat: int


class ControlRequest(NamedTuple):
    """Someone asks the owner for the workspace. `client_kind` says from where, such as `cli` or `web`."""

    machine_id: str
    host: str
    pid: int
    client_kind: str
    time: int
    request_id: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "machine_id": self.machine_id,
            "host": self.host,
            "pid": self.pid,
            "client_kind": self.client_kind,
            "time": iso(self.time),
        }


Row = TypeVar("Row", Lease, ControlRequest)


def write_row(folder: SharedFolder, name: str, row: Lease | ControlRequest) -> None:
    """Writes a row as a Parquet file of its own, in place of the one before. Raises StorageError."""
    from flowstead.workspace.parquet import encode_table

    columns = {
        name: ("int64" if isinstance(value, int) else "string", [value]) for name, value in row._asdict().items()
    }
    folder.replace(name, encode_table(columns))


def read_row(folder: SharedFolder, name: str, kind: type[Row]) -> Row | None:
    """The row in a file; None when there is no file, or none that can be understood. Raises StorageError."""
    data = folder.read(name)
    if not data:
        return None
    from flowstead.workspace.parquet import decode_table

    try:
        table = decode_table(data)
        (row,) = zip(*(table[name] for name in kind._fields), strict=True)
        return kind(*row) if all(isinstance(value, int | str) for value in row) else None
    except (ValueError, LookupError, TypeError):
        return None


def lease_file(workspace_id: str) -> str:
    return f"leases/{workspace_id}.parquet"


def request_file(workspace_id: str) -> str:
    return f"control_requests/{workspace_id}.parquet"


def mark(folder: SharedFolder, workspace_id: str, *, leased: bool, text: str) -> None:
    """Shows by a file's name whether the workspace is `leased/` or `available/`. Failures are of no consequence."""
    shown, hidden = ("leased", "available") if leased else ("available", "leased")
    with suppress(StorageError):
        folder.replace(f"{shown}/{workspace_id}", text.encode())
    with suppress(StorageError):
        folder.remove(f"{hidden}/{workspace_id}")


class Sightings:
    """For how long this machine has seen things unchanged, remembered in a file over the lives of its processes.

    Times are seconds of the clock that starts with the system and counts suspended time. The memory of another boot
    is dropped; where the system does not tell boots apart, the clock itself started again since, so that what is
    computed from an older entry is at most the time that has truly passed.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[list[Any], float]] | None = None

    def unchanged(self, what: str, value: list[Any], before: float, after: float) -> float:
        """Seconds for which `what` has had this JSON-able value; `before` and `after` are the times of this look.

        Of the first look the end counts, of this one the beginning: a process can be stopped in the middle of a
        look, and what it read in it may be younger than its beginning, and older than its end.
        """
        with self._lock:
            seen = self._load()
            known = seen.get(what)
            if known is None or known[0] != value or known[1] > after:
                seen[what] = (value, after)
                self._save(seen)
                return 0.0
            return max(0.0, before - known[1])

    def _load(self) -> dict[str, tuple[list[Any], float]]:
        if self._seen is None:
            self._seen = {}
            with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                noted = json.loads(self._path.read_bytes())
                if noted["boot_id"] == self._boot_id:
                    self._seen = {
                        str(what): (list(each["value"]), float(each["since"])) for what, each in noted["seen"].items()
                    }
        return self._seen

    def _save(self, seen: dict[str, tuple[list[Any], float]]) -> None:
        noted = {"boot_id": self._boot_id, "seen": {w: {"value": v, "since": s} for w, (v, s) in seen.items()}}
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        # Not remembered is only seen anew: no reason for a command to fail.
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(noted))
            part.replace(self._path)
