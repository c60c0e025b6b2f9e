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
from flowstead.model.run import OPEN

Signature = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sources:
    """A look at a flow's source `folder`: the signature of every file by its path below it, and which are due.

    `root` is how the folder is recorded (see WorkspaceLayout.root_key). `failed_before` counts the files that wait for
    a change because their last run failed. `ahead` are the paths with a run that has not ended (None stands for the
    whole folder), and whether that run has begun.
    """

    root: str
    folder: Path
    files: dict[str, Signature]
    due: tuple[str, ...]
    failed_before: int
    ahead: dict[str | None, bool]


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


def find_files(spec: FlowSpec, folder: Path) -> dict[str, Signature]:
    """Every file of a source now. Raises NotFound (`source-missing`), UsageError for a name that cannot be recorded."""
    try:
        files = scan(folder, spec.trigger.extensions)
    except FileNotFoundError as error:
        raise NotFound(
            f"The source of {spec.name}, {folder}, does not exist.",
            code="source-missing",
            hint="Make the folder, or name another with --source PATH.",
        ) from error
    for name in unrecordable(files):
        raise UsageError(
            f"The name of {name!r} in {folder} is not valid UTF-8, so no run of it could be recorded.",
            code="source-name-invalid",
            hint="Rename the file, then run the flow again.",
        )
    return files


def unrecordable(files: Iterable[str]) -> list[str]:
    """Those names that are not valid UTF-8."""
    try:
        "".join(files).encode()
    except UnicodeEncodeError:
        return [path for path in files if any("\ud800" <= letter <= "\udfff" for letter in path)]
    return []


def ahead(spec: FlowSpec, root: str, reader: LedgerReader) -> dict[str | None, bool]:
    """The paths with a run that has not ended (None stands for the whole folder), and whether that run has begun."""
    # Where a flow is never resumed, an interrupted run has nothing ahead of it.
    statuses = OPEN if spec.resume == "never" else (*OPEN, "interrupted")
    return reader.sources_ahead(spec.name, root, statuses)


def compare(
    spec: FlowSpec,
    root: str,
    folder: Path,
    files: dict[str, Signature],
    reader: LedgerReader,
    *,
    whole: bool = True,
    force: bool = False,
    retry_failed: bool = False,
) -> Sources:
    """Compares files with what the flow's runs have recorded; without `whole` they are only some of the source's.

    A file whose last run failed or was cancelled is due once it changes, or with `retry_failed`; `force` makes every
    file due.
    """
    # Race: a run may end between the two reads. In this order it is seen as ahead, or by what it recorded, or both.
    runs_ahead = ahead(spec, root, reader)
    recorded = reader.file_state(spec.name, root, None if whole else files)
    if spec.resume == "never":
        # Interrupted is the end of such a run: its file is one that failed.
        for path, signature in reader.interrupted_files(spec.name, root).items():
            if files.get(path) == signature != recorded.get(path, ())[:2]:
                recorded[path] = (*signature, "interrupted")
    due, failed = _due(files, recorded, force=force, retry_failed=retry_failed)
    return Sources(root, folder, files, due, failed, runs_ahead)


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


def signatures(spec: FlowSpec, folder: Path, path: str | None) -> Iterable[tuple[str, int, int]]:
    """`(path, size, mtime_ns)` of the one file, or of every file, that a run on this source is about to read."""
    if path is not None:
        try:
            stat = (folder if folder.is_file() else folder / path).stat()
        except OSError:
            return []
        return [(path, stat.st_size, stat.st_mtime_ns)]
    try:
        return [(name, *signature) for name, signature in scan(folder, spec.trigger.extensions).items()]
    except OSError:
        return []
