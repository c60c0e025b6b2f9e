"""Which source files a flow has not yet had as they are now.

A file's signature is its size and its modification time in nanoseconds. Outputs play no part: deleting them makes
nothing stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flowstead.flow.files import scan
from flowstead.ledger import LedgerReader
from flowstead.model.errors import NotFound, UsageError
from flowstead.model.flow import FlowSpec

Signature = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sources:
    """A look at a flow's source: every file's signature by its path below `root`, and which of them are due."""

    root: str
    files: dict[str, Signature]
    due: tuple[str, ...]
    failed_before: int


def source_root(spec: FlowSpec, module_dir: Path, chosen: Path | None = None) -> Path | None:
    """The absolute source of a flow: the `chosen` one, else its own, relative to its module; None without one."""
    if chosen is not None:
        return Path(chosen).expanduser().absolute()
    if spec.trigger.source is None:
        return None
    return Path(_normal(module_dir / spec.trigger.source))


def _normal(path: Path) -> str:
    import os

    return os.path.normpath(path.expanduser().absolute())


def look(
    spec: FlowSpec, root: Path, reader: LedgerReader, *, force: bool = False, retry_failed: bool = False
) -> Sources:
    """Scans the source at `root` and compares it with what the flow's runs have recorded.

    A file whose last run failed or was cancelled is due once it changes, or with `retry_failed`; `force` makes every
    file due. Raises NotFound when the source does not exist, UsageError for a file whose name cannot be recorded.
    """
    try:
        files = scan(root, spec.trigger.extensions)
    except FileNotFoundError as error:
        raise NotFound(
            f"The source of {spec.name}, {root}, does not exist.",
            code="source-missing",
            hint="Make the folder, or name another with --source PATH.",
        ) from error
    _refuse_unrecordable(files, root)
    recorded = reader.file_state(spec.name, str(root))
    if spec.resume == "never":
        # Interrupted is the end of such a run: its file is one that failed.
        for path, signature in reader.interrupted_files(spec.name, str(root)).items():
            if files.get(path) == signature != recorded.get(path, ())[:2]:
                recorded[path] = (*signature, "interrupted")
    due, failed = _due(files, recorded, force=force, retry_failed=retry_failed)
    return Sources(str(root), files, due, failed)


def _refuse_unrecordable(files: dict[str, Signature], root: Path) -> None:
    try:
        "".join(files).encode()
    except UnicodeEncodeError:
        name = next(path for path in files if any("\ud800" <= letter <= "\udfff" for letter in path))
        raise UsageError(
            f"The name of {name!r} in {root} is not valid UTF-8, so no run of it could be recorded.",
            code="source-name-invalid",
            hint="Rename the file, then run the flow again.",
        ) from None


def _due(
    files: dict[str, Signature], recorded: dict[str, tuple[int, int, str]], *, force: bool, retry_failed: bool
) -> tuple[tuple[str, ...], int]:
    if force:
        return tuple(sorted(files)), 0
    due: list[str] = []
    failed = 0
    for path, signature in files.items():
        known = recorded.get(path)
        if known is None or (known[0], known[1]) != signature:
            due.append(path)
        elif known[2] != "succeeded":
            failed += 1
            if retry_failed:
                due.append(path)
    return tuple(sorted(due)), failed


def signatures(spec: FlowSpec, root: str, path: str | None) -> Iterable[tuple[str, int, int]]:
    """`(path, size, mtime_ns)` of the one file, or of every file, that a run on this source is about to read."""
    found = Path(root)
    if path is not None:
        try:
            stat = (found if found.is_file() else found / path).stat()
        except OSError:
            return []
        return [(path, stat.st_size, stat.st_mtime_ns)]
    try:
        return [(name, *signature) for name, signature in scan(found, spec.trigger.extensions).items()]
    except OSError:
        return []
