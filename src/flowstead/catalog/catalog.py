"""The catalog of a workspace: each flow module with its plan, or with what is wrong with it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.catalog.versions import (
    FORMAT,
    HelperTree,
    helpers_folder,
    publish,
    read_helpers,
    read_record,
    staging,
    version_digest,
    write_helpers,
)
from flowstead.flow.files import is_temporary
from flowstead.model.errors import EnvironmentPending, FlowNotFound, FlowsteadError, WorkspaceNotFound
from flowstead.model.flow import FlowSpec

if TYPE_CHECKING:
    from flowstead.workspace.layout import WorkspaceLayout

_SUFFIXES = (".py", ".ipynb")
SECONDS_BETWEEN_READINGS = 10.0
"""For how long modules whose sizes and times stay what they are need not be read again."""
# What the text alone decides, and a time-out, which is too dear to meet again at every look.
_LASTING = frozenset(
    ("notebook-invalid", "notebook-magic", "build-missing", "build-invalid", "definition-invalid", "module-timeout")
)
_LASTING_TYPES = frozenset(("SyntaxError", "IndentationError", "TabError", "NameError"))


PythonFor = Callable[[Path, bytes], str]
"""The interpreter that can import a module, by its path and text. Raises FlowsteadError while there is none."""


def own_python(path: Path, source: bytes) -> str:
    """The interpreter that runs Flowstead, for any module."""
    return sys.executable


Fingerprint = frozenset[tuple[str, int, int]]


def fingerprint_of(layout: WorkspaceLayout) -> Fingerprint:
    """What changes when a module or a helper does, without reading them."""
    found: set[tuple[str, int, int]] = set()
    for folder, _, names in os.walk(layout.flow_modules):
        for name in names:
            if name.endswith(_SUFFIXES):
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                found.add((path, status.st_size, status.st_mtime_ns))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One flow module: `spec` when it could be described, else `error`.

    `path` is the authored file. `digest` names the flow version; it is None when there is no content to name.
    `error` is `{code, type, message, file, line, cell?, hint, traceback}`, `file` relative to the workspace.
    """

    name: str
    path: Path
    digest: str | None
    spec: FlowSpec | None
    error: dict[str, Any] | None

    @property
    def status(self) -> str:
        """One of ok, broken, and pending: its environment is not there yet, without which nobody can read it."""
        if self.spec is not None:
            return "ok"
        pending = self.error is not None and self.error["type"] == EnvironmentPending.__name__
        return "pending" if pending else "broken"


@dataclass(frozen=True, slots=True)
class _Text:
    path: Path
    suffix: str
    source: bytes
    digest: str


class Catalog:
    """The flows of one workspace.

    A module is described, by the interpreter that `python_for` names and within `time_limit` seconds, when its content
    or that of the helpers is new; what is known by then is stored as a flow version.
    """

    def __init__(
        self, layout: WorkspaceLayout, *, python_for: PythonFor = own_python, time_limit: float = 10.0
    ) -> None:
        self.layout = layout
        self.python_for = python_for
        self.time_limit = time_limit
        self._seen: tuple[Fingerprint, float, list[CatalogEntry]] | None = None

    def entries(self, *, again: bool = False) -> list[CatalogEntry]:
        """Every flow, by name. Lasting errors are remembered; `again` looks at those modules anew.

        Raises StorageError and HomeUnwritable when a new version cannot be stored, FlowsteadError with code
        `describe-failed` when an interpreter cannot describe anything.
        """
        return self._look(self._modules(), again)

    def entry(self, name: str) -> CatalogEntry:
        """The flow `name`; a remembered error is looked at anew. Raises FlowNotFound, and what `entries` raises."""
        modules = self._modules()
        if name not in modules:
            raise self._unknown(name, list(modules))
        return self._look({name: modules[name]}, True)[0]

    def entries_within(self, seconds: float = SECONDS_BETWEEN_READINGS) -> list[CatalogEntry]:
        """What `entries` gave within the last `seconds`, as long as no module's size or time has changed since.

        For what is shown all the time: it costs a look at the names, also while a module cannot be imported. A flow
        that waits for its environment is looked at anew. Raises what `entries` raises.
        """
        # Before they are read: what changes meanwhile is seen at the next look.
        fingerprint, now = fingerprint_of(self.layout), time.monotonic()
        if self._seen is not None:
            seen, at, entries = self._seen
            if seen == fingerprint and now - at < seconds and all(entry.status != "pending" for entry in entries):
                return entries
        entries = self.entries()
        self._seen = fingerprint, now, entries
        return entries

    def path(self, name: str) -> Path:
        """The authored file of a flow; nothing of it is run. Raises FlowNotFound."""
        modules = self._modules()
        if name not in modules:
            raise self._unknown(name, list(modules))
        return modules[name][0]

    def _modules(self) -> dict[str, list[Path]]:
        """The files of each flow, by name, in order; more than one is an error of that flow."""
        found: dict[str, list[Path]] = {}
        try:
            files = list(os.scandir(self.layout.flow_modules))
        except OSError as error:
            raise WorkspaceNotFound(
                f"{self.layout.flow_modules} cannot be listed: {error.strerror or error}."
            ) from error
        for file in files:
            stem, suffix = os.path.splitext(file.name)
            if suffix.lower() not in _SUFFIXES or stem.startswith("_") or is_temporary(file.name):
                continue
            # A link to nowhere is a module that cannot be read; a folder or a pipe is none.
            if file.is_file() or (file.is_symlink() and not file.is_dir()):
                found.setdefault(stem, []).append(self.layout.flow_modules / file.name)
        return {name: sorted(found[name]) for name in sorted(found)}

    def _look(self, modules: dict[str, list[Path]], again: bool) -> list[CatalogEntry]:
        helpers = read_helpers(self.layout.flow_helpers)
        found: dict[str, CatalogEntry] = {}
        unknown: list[_Text] = []
        for name, paths in modules.items():
            path = paths[0]
            if len(paths) > 1:
                found[name] = CatalogEntry(name, path, None, None, self._duplicate(paths))
                continue
            try:
                source = path.read_bytes()
            except OSError as error:
                found[name] = CatalogEntry(name, path, None, None, self._unreadable(path, error))
                continue
            suffix = path.suffix.lower()
            digest = version_digest(name, suffix, source, helpers.digest)
            record = read_record(self.layout, digest, suffix)
            if record is None or (again and "error" in record):
                unknown.append(_Text(path, suffix, source, digest))
            else:
                found[name] = _entry(path, digest, record)
        shared = helpers_folder(self.layout, helpers.digest)
        if unknown or (shared is not None and found and not shared.is_dir()):
            self._describe(unknown, helpers, found)
        return [found[name] for name in modules]

    def _describe(self, texts: list[_Text], helpers: HelperTree, found: dict[str, CatalogEntry]) -> None:
        """Adds the entries of `texts` to `found`, storing each as it is known."""
        from flowstead.catalog.describing import Job, describe_modules

        with staging(self.layout) as stage:
            shared = helpers_folder(self.layout, helpers.digest)
            if shared is not None and not shared.is_dir():
                write_helpers(stage / shared.name, helpers)
                publish(stage / shared.name, shared)
            jobs: dict[Job, _Text] = {}
            queues: dict[str, list[Job]] = {}
            for text in texts:
                try:
                    python = self.python_for(text.path, text.source)
                except FlowsteadError as error:
                    found[text.path.stem] = CatalogEntry(
                        text.path.stem, text.path, text.digest, None, self._no_interpreter(text.path, error)
                    )
                    continue
                folder = stage / text.digest
                folder.mkdir()
                (folder / f"module{text.suffix}").write_bytes(text.source)
                job = Job(folder, shared, text.path, self.layout.root)
                jobs[job] = text
                queues.setdefault(python, []).append(job)

            def answered(job: Job, answer: dict[str, Any]) -> None:
                text = jobs[job]
                record = {
                    "format": FORMAT,
                    "name": text.path.stem,
                    "origin": text.path.relative_to(self.layout.root).as_posix(),
                    "helpers": helpers.digest,
                    **answer,
                }
                error = answer.get("error")
                if error is None or error["code"] in _LASTING or error["type"] in _LASTING_TYPES:
                    (job.folder / "spec.json").write_text(json.dumps(record), "utf-8")
                    publish(job.folder, self.layout.versions / text.digest)
                found[text.path.stem] = _entry(text.path, text.digest, record)

            for python, queue in queues.items():
                describe_modules(queue, answered, python=python, time_limit=self.time_limit, scratch=stage)

    def _duplicate(self, paths: list[Path]) -> dict[str, Any]:
        names = " and ".join(path.name for path in paths)
        message = f"{names} would both be the flow {paths[0].stem!r}."
        return self._file_error(paths[0], "flow-duplicate", "ValueError", message, "Rename or remove one of them.")

    def _unreadable(self, path: Path, error: OSError) -> dict[str, Any]:
        message = f"{path.name} cannot be read: {error.strerror or error}."
        hint = "Check its permissions, and that what it links to exists."
        return self._file_error(path, "module-unreadable", type(error).__name__, message, hint)

    def _no_interpreter(self, path: Path, error: FlowsteadError) -> dict[str, Any]:
        found = self._file_error(path, error.code, type(error).__name__, error.message, error.hint)
        return {**found, **{name: error.detail[name] for name in ("file", "line", "words") if error.detail.get(name)}}

    def _file_error(self, path: Path, code: str, kind: str, message: str, hint: str) -> dict[str, Any]:
        file = path.relative_to(self.layout.root).as_posix()
        return {
            "code": code,
            "type": kind,
            "message": message,
            "file": file,
            "line": None,
            "hint": hint,
            "traceback": "",
        }

    def _unknown(self, name: str, known: list[str]) -> FlowNotFound:
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}? " if near else ""
        return FlowNotFound(
            f"There is no flow {name!r} in {self.layout.root}.", hint=hint + FlowNotFound.default_hint, name=name
        )


def _entry(path: Path, digest: str, record: dict[str, Any]) -> CatalogEntry:
    plan = record.get("plan")
    spec = None if plan is None else FlowSpec.from_dict(plan)
    return CatalogEntry(path.stem, path, digest, spec, record.get("error"))
