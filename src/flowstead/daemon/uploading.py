"""Files that people drop on a flow: written beside its sources under a name no trigger takes up, then put in place."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

from flowstead.daemon.authoring.files import require_editing
from flowstead.daemon.files.opening import Place
from flowstead.daemon.files.places import shown_path
from flowstead.daemon.placing import OpenFolder, refused
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.freshness import source_root
from flowstead.engine.starting import working
from flowstead.flow.files import is_temporary
from flowstead.model.errors import FlowsteadError, NotFound, TransitionRefused, UsageError
from flowstead.model.flow import FlowSpec

LONGEST_NAME = 240
_NOWHERE = re.compile(r'[<>:"/\\|?*]')


class Upload:
    """One file on its way into the source folder of a flow: `write` its bytes, then `finish`, or else `abort`.

    Raises as OpenFolder does. Nothing is seen of it before it is whole.
    """

    def __init__(self, host: WorkspaceHost, spec: FlowSpec, root: str, name: str, *, replace: bool) -> None:
        self._host = host
        self._spec = spec
        self._name = name
        self._replace = replace
        self._size = 0
        # When the server ends, a piece may still be written in another thread.
        self._lock = threading.Lock()
        self._folder = OpenFolder(Place(root, ""))
        self._file = None
        try:
            self._replaces = self._check_name()
            self._folder.tidy()
            opened, self._part = self._folder.begin()
            self._file = os.fdopen(opened, "wb", buffering=0)
        except BaseException:
            self._folder.close()
            raise

    def _check_name(self) -> bool:
        """Whether there is a file of that name already. Raises TransitionRefused unless it may be replaced."""
        there = self._folder.status(self._name) is not None
        if there and not self._replace:
            raise TransitionRefused(
                f"There is a {self._name} already.",
                code="file-exists",
                hint="Replace it, or give the file another name.",
                file=self._name,
            )
        return there

    def write(self, data: bytes) -> None:
        """Adds the next bytes."""
        assert self._file is not None
        rest = memoryview(data)
        try:
            with self._lock:
                while rest and not self._file.closed:
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise refused(os.path.join(self._folder.place.path, self._name), error) from error
        self._size += len(data)

    def finish(self) -> dict[str, Any]:
        """Puts the whole file in place; see the route."""
        assert self._file is not None
        try:
            with self._lock:
                os.fsync(self._file.fileno())
                self._file.close()
        except OSError as error:
            raise refused(os.path.join(self._folder.place.path, self._name), error) from error
        self._folder.settle(self._part, self._name, replace=self._replace)
        root = self._folder.place.path
        self._folder.close()
        return {
            "flow": self._spec.name,
            "path": shown_path(self._host, os.path.join(root, self._name)),
            "size": self._size,
            "replaced": self._replaces,
            "source_path": self._name,
            "starts_by_itself": self._spec.trigger.mode == "poll" and self._spec.name in self._host.automated_flows(),
        }

    def abort(self) -> None:
        """Leaves nothing of it. Safe to call at any time."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._folder.discard(self._part)
            self._folder.close()


def begin_upload(host: WorkspaceHost, flow: str, name: str, *, replace: bool) -> Upload:
    """An upload of a file of that name to the source folder of a flow.

    Raises FlowNotFound, FlowBroken, WorkspaceOwned, UsageError (`upload-name-invalid`, `upload-type-refused`),
    TransitionRefused (`file-exists`), FlowsteadError (`upload-no-source`), StorageError.
    """
    require_editing(host)
    entry = host.catalog.entry(flow)
    spec = working(entry)
    root = source_root(spec, entry.path.parent)
    if root is None:
        raise FlowsteadError(
            f"{spec.label} reads no source folder.",
            code="upload-no-source",
            hint='Give it one: .watch(mode="poll", source="../inbox").',
        )
    _check(name, spec)
    real = os.path.realpath(root)
    if os.path.isfile(real):
        raise FlowsteadError(
            f"{spec.label} reads one file, {root.name}, and no folder.",
            code="upload-no-source",
            hint="Put the file in its place by yourself.",
        )
    if not os.path.isdir(real):
        _make(host, real)
    return Upload(host, spec, real, name, replace=replace)


def _check(name: str, spec: FlowSpec) -> None:
    whole = name if isinstance(name, str) else ""
    try:
        length = len(whole.encode())
    except UnicodeEncodeError:
        length = 0
    if not 0 < length <= LONGEST_NAME or not whole.isprintable() or _NOWHERE.search(whole) or whole != whole.strip():
        raise UsageError(
            f"{whole[:100]!r} is no name for a file.",
            code="upload-name-invalid",
            hint='Rename it: a name has no < > : " / \\ | ? * and neither begins nor ends with a space.',
        )
    if is_temporary(whole) or whole.endswith("."):
        raise UsageError(
            f"{whole} would never be read: it looks like a temporary file.",
            code="upload-name-invalid",
            hint="Give it a name that begins with no dot, and ends with what it is.",
        )
    extensions = spec.trigger.extensions
    if extensions and not whole.lower().endswith(extensions):
        *most, last = extensions
        listed = f"{', '.join(most)} or {last}" if most else last
        raise UsageError(
            f"{spec.label} does not read {whole}.", code="upload-type-refused", hint=f"It reads {listed} files."
        )


def _make(host: WorkspaceHost, folder: str) -> None:
    """Makes a source folder that is not there yet below the workspace."""
    above = os.path.realpath(host.layout.root)
    if os.path.commonpath([folder, above]) != above:
        raise NotFound(
            f"The source folder {folder} does not exist.", code="source-missing", hint="Make the folder first."
        )
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise refused(folder, error) from error
