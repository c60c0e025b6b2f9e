"""What a step is given: the value so far, where its files lie, and how to say what it does."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Protocol

from flowstead.flow.artifacts import Artifacts
from flowstead.flow.errors import StepFailure
from flowstead.flow.paths import MirrorPaths, SourcePaths, relative_name


class Sink(Protocol):
    """Where what a step says goes. A worker's sink sends it to the engine; a preview's shows or drops it."""

    artifacts_dir: Path | None
    """The run's folder for artifacts; None when nothing is to be kept."""

    def artifact(self, name: str, kind: str, path: Path, info: dict[str, Any]) -> None:
        """`path` was written: an artifact of kind frame, json, figure, image or report."""

    def progress(self, done: int, total: int | None, message: str | None) -> None:
        """The running step is so far."""

    def log(self, level: str, message: str, data: dict[str, Any]) -> None:
        """A line for the run's log; `level` is debug, info, warning or error."""

    def check_cancelled(self) -> None:
        """Raises RunCancelled when the run is to end."""

    def secret(self, name: str) -> str:
        """The secret's value. Raises StepFailure (`secret-missing`) when there is none."""
        ...


class Log:
    """`context.log`: `context.log.info("read", rows=3)`, and `context.log("read")` for short."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __call__(self, message: object, **data: Any) -> None:
        self._sink.log("info", str(message), data)

    info = __call__

    def debug(self, message: object, **data: Any) -> None:
        self._sink.log("debug", str(message), data)

    def warning(self, message: object, **data: Any) -> None:
        self._sink.log("warning", str(message), data)

    def error(self, message: object, **data: Any) -> None:
        self._sink.log("error", str(message), data)


class Config:
    """`context.config`: the workspace's `config/*.toml`, read when asked for, by file name without the ending.

    What it returns is the caller's own copy. A file that is not valid TOML raises StepFailure (`config-invalid`)
    with file and line.
    """

    def __init__(self, workspace_root: Path | None) -> None:
        self._folder = None if workspace_root is None else workspace_root / "config"
        self._read: dict[str, dict[str, Any]] = {}

    def get(self, name: str) -> dict[str, Any] | None:
        """The settings in `config/<name>.toml`; None when there is no such file."""
        if name not in self._read:
            path = self._path(name)
            if path is None or not path.is_file():
                return None
            self._read[name] = _toml(path)
        return copy.deepcopy(self._read[name])

    def require(self, name: str) -> dict[str, Any]:
        """The settings in `config/<name>.toml`. Raises StepFailure (`config-missing`) when there is no such file."""
        settings = self.get(name)
        if settings is None:
            where = self._folder or "config/, for this flow belongs to no workspace"
            raise StepFailure(
                f"There is no {name}.toml in {where}.",
                code="config-missing",
                hint=f"Files there: {', '.join(self.names()) or 'none'}. Add it, or read it with config.get.",
            )
        return settings

    def names(self) -> tuple[str, ...]:
        """The files that are there, sorted, without their ending."""
        if self._folder is None or not self._folder.is_dir():
            return ()
        return tuple(sorted(path.stem for path in self._folder.glob("*.toml") if not path.name.startswith(".")))

    def all(self) -> dict[str, dict[str, Any]]:
        """The settings of every file, by its name."""
        return {name: self.require(name) for name in self.names()}

    def _path(self, name: str) -> Path | None:
        if self._folder is None:
            return None
        argument = "config.get(name)"
        return self._folder / f"{relative_name(name, argument=argument, root=self._folder, base=PurePosixPath())}.toml"


@dataclass(frozen=True, slots=True)
class SourceMetadata:
    """The run's source file as it is on disk: `modified_at_utc` is a datetime in UTC."""

    path: Path
    name: str
    size_bytes: int
    modified_at_utc: datetime


class FlowContext:
    """What a step is given, as its only parameter.

    `current`: the value so far; a step's return value becomes it. `objects`: the waypoints, by name. `params`: the
    answers to what the flow asks, by name. `metadata`: notes kept with the run; it holds `run_id`, `started_at_utc`,
    `step_outputs` (paths that steps returned, by label, once there is one) and, in a run of one file, `file_hash`
    (SHA-1 of the file's posix path relative to the source root). `summary`: one line that says how the run went.
    `source`, `mirror`: path namespaces, or None. `config`: the workspace's settings. `log`: lines for the run's log.
    `debug`: frames and values to look at later.
    """

    def __init__(
        self,
        *,
        flow_name: str,
        group: str,
        run_id: str,
        attempt: int,
        params: Mapping[str, Any],
        module_dir: Path,
        workspace_root: Path | None,
        source: SourcePaths | None,
        mirror: MirrorPaths | None,
        sink: Sink,
    ) -> None:
        self.flow_name = flow_name
        self.group = group
        self.run_id = run_id
        self.attempt = attempt
        self.params: Mapping[str, Any] = MappingProxyType(dict(params))
        self.source = source
        self.mirror = mirror
        self.current: Any = None
        self.objects: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {
            "run_id": run_id,
            "started_at_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        if source is not None and source.relative_path is not None:
            relative = source.relative_path.as_posix().encode("utf-8", "surrogateescape")
            self.metadata["file_hash"] = hashlib.sha1(relative, usedforsecurity=False).hexdigest()
        self.summary: str | None = None
        self.config = Config(workspace_root)
        self.log = Log(sink)
        self.debug = Artifacts(sink)
        self._sink = sink
        self._module_dir = module_dir
        self._workspace_root = workspace_root
        self._step_index = 0
        self._thread = threading.local()

    def database(self, relative: str) -> Path:
        """The path `relative` in the workspace's `databases/`, with its parent folders made.

        Raises PathRefused for a name that is absolute or leaves the folder, StepFailure (`no-workspace`) for a flow of
        no workspace.
        """
        if self._workspace_root is None:
            raise StepFailure(
                f"database({relative!r}) has no folder: this flow belongs to no workspace.",
                code="no-workspace",
                hint='Put the module in a workspace\'s flow_modules/, and load it with load_flow("name").',
            )
        root = self._workspace_root / "databases"
        path = root / relative_name(relative, argument="database(relative)", root=root, base=PurePosixPath())
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def source_metadata(self) -> SourceMetadata | None:
        """What the run's source file is like on disk; None when the run has no file of its own.

        Raises FileNotFoundError when the file has gone.
        """
        if self.source is None or self.source.path is None:
            return None
        path = self.source.path
        status = path.stat()
        return SourceMetadata(path, path.name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def progress(self, done: int, total: int | None = None, message: str | None = None) -> None:
        """Tells how far the step is, for everyone who watches."""
        self._sink.progress(done, total, message)

    def report(self, markdown: str, name: str = "report") -> Path | None:
        """Keeps a Markdown text with the run as `<name>.md`; returns its path (None in a preview)."""
        return self.debug.report(markdown, name)

    def show(self, obj: Any, name: str | None = None) -> Path | None:
        """Keeps something to look at with the run; returns the path of its file (None in a preview).

        `obj`: a matplotlib, Altair or Plotly figure, a PIL image, PNG, JPEG or SVG as bytes (SVG as str too), or a
        data frame. Raises ArtifactRefused (`show-unsupported`), a TypeError, for anything else.
        """
        return self.debug.show(obj, name)

    def secret(self, name: str) -> str:
        """The secret's value. Raises StepFailure (`secret-missing`) when there is none."""
        return self._sink.secret(name)

    def check_cancelled(self) -> None:
        """Ends the step by raising RunCancelled when the run is being cancelled; call it in long loops."""
        self._sink.check_cancelled()

    @property
    def idempotency_key(self) -> str:
        """The same text in every attempt of this step (and, in a map, of this item): a key for effects elsewhere."""
        key = f"{self.run_id}:{self._step_index}"
        return key if self._item is None else f"{key}:{self._item}"

    # The executor sets what follows.

    @property
    def _item(self) -> int | None:
        # Of this thread: a map's workers are at different items at the same time.
        return getattr(self._thread, "item", None)

    @_item.setter
    def _item(self, index: int | None) -> None:
        self._thread.item = index

    def _begin_step(self, index: int) -> None:
        self._step_index = index
        self._item = None

    def _collect_root(self, root: str | None) -> Path:
        if root is not None:
            return Path(os.path.abspath(self._module_dir / Path(root).expanduser()))
        if self.source is not None:
            return self.source.root
        raise StepFailure(
            "collect() has no folder to look in: it was given no root=, and the flow has no source.",
            code="collect-no-root",
            hint='Write collect([".csv"], root="../incoming"), or give watch(...) a source.',
        )


def _toml(path: Path) -> dict[str, Any]:
    import tomllib

    content = path.read_bytes()
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors lead with a byte order mark
    except UnicodeDecodeError as error:
        line, why = content.count(b"\n", 0, error.start) + 1, "it is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        why, _, place = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", place)
        line = int(found[1]) if found else content.count(b"\n") + 1
    raise StepFailure(
        f"{path}, line {line}, is not valid TOML: {why[:1].lower()}{why[1:]}.",
        code="config-invalid",
        hint='Write settings as key = value, and texts in double quotes: name = "north".',
    )
