"""Requests about what people write: flow modules, notebooks, helpers and configuration, read, checked and changed."""

from __future__ import annotations

from typing import Any

from flowstead.daemon.authoring import editing
from flowstead.daemon.authoring.diagnosing import CHECKS
from flowstead.daemon.authoring.files import EditableFile, editable_file, editable_files, refusal
from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import NotFound


def list_sources(host: WorkspaceHost) -> dict[str, Any]:
    """What people edit in this workspace, by path: `{files, actions, refusal}`.

    `actions` are those that this machine may take now; without any, `refusal` says why. A `linked` file lies elsewhere
    and is not edited here.
    """
    error = refusal(host, seen=True)
    return {
        "files": list(editable_files(host.layout)),
        "actions": ["write", "create", "rename", "delete"] if error is None else [],
        "refusal": None if error is None else error.as_dict(),
    }


def read_source(host: WorkspaceHost, *, path: str) -> dict[str, Any]:
    """One file to be edited: `{path, kind, flow, tag, text, cells, size, modified_at}`.

    Lines end with `\\n`, whatever they end with on the disk. A notebook has `cells` `[{id, kind, source}]`, anything
    else `text`. The `tag` names this version of it, and is given back when it is written.
    """
    return editing.content_of(editable_file(host.layout, path))


def check_source(
    host: WorkspaceHost, *, path: str, text: str | None = None, cells: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """What is wrong with a text as it is typed, `{diagnostics}`; nothing of it is stored.

    A diagnostic is `{file, flow, line, column, cell, severity, code, message, hint}`. An edited helper is checked in
    the flows that mention it. Of several checks of one file that wait, only the newest is carried out
    (`check-superseded`).
    """
    file = editable_file(host.layout, path)
    if text is None and cells is None:
        return {"diagnostics": CHECKS.diagnose(host, file, file.read())}
    try:
        before = file.read()
    except NotFound:
        before = editing.beginning(file) if file.kind == "notebook" else b""
    return {"diagnostics": CHECKS.diagnose(host, file, editing.edited(file, before, text, cells))}


def write_source(
    host: WorkspaceHost,
    *,
    path: str,
    tag: str,
    text: str | None = None,
    cells: list[dict[str, Any]] | None = None,
    check: bool = True,
) -> dict[str, Any]:
    """Saves a file, and tells what is wrong with it now: `{path, kind, flow, tag, modified_at, diagnostics}`.

    Only when it still is the version named by `tag`: else `edit-conflict`, with the file as it is now in `detail.now`.
    A cell of a known id keeps its outputs and metadata; a new cell has the id null.

    Raises WorkspaceOwned.
    """
    file = editable_file(host.layout, path)
    editing.write(host, file, tag, text, cells)
    return _saved(host, file, check)


def create_source(
    host: WorkspaceHost, *, path: str, text: str | None = None, cells: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Makes a new file, from a small template unless text or cells are given; answers as saving it does.

    Raises WorkspaceOwned, UsageError (`name-invalid`), TransitionRefused (`file-exists`).
    """
    return _saved(host, editing.create(host, path, text, cells), True)


def rename_source(host: WorkspaceHost, *, path: str, to: str, tag: str) -> dict[str, Any]:
    """Gives a file another name of the same kind; answers as saving it does. A flow's history stays with its old name.

    The diagnostics of a helper are also of the flows that still call it by the old one.

    Raises WorkspaceOwned, UsageError (`name-invalid`), TransitionRefused (`edit-conflict`, `file-exists`,
    `flow-in-use` while the flow has runs that are queued or under way).
    """
    file = editable_file(host.layout, path)
    saved = _saved(host, editing.rename(host, file, to, tag), True)
    return {**saved, "diagnostics": [*saved["diagnostics"], *editing.left_behind(host, file)]}


def delete_source(host: WorkspaceHost, *, path: str, tag: str) -> dict[str, Any]:
    """Deletes a file: `{deleted, diagnostics}`. The runs of a flow stay, with the versions that they ran.

    The diagnostics of a helper are of the flows that it leaves broken.

    Raises WorkspaceOwned, TransitionRefused (`edit-conflict`, `flow-in-use`).
    """
    file = editable_file(host.layout, path)
    editing.delete(host, file, tag)
    return {"deleted": path, "diagnostics": editing.left_behind(host, file)}


def _saved(host: WorkspaceHost, file: EditableFile, check: bool) -> dict[str, Any]:
    now = editing.content_of(file)
    diagnostics = editing.diagnostics_of(host, file) if check else []
    return {**{name: now[name] for name in ("path", "kind", "flow", "tag", "modified_at")}, "diagnostics": diagnostics}


ROUTES = (
    Route("GET", "/sources", list_sources),
    Route("GET", "/sources/content", read_source),
    Route("POST", "/sources/check", check_source),
    Route("POST", "/sources/write", write_source),
    Route("POST", "/sources/create", create_source),
    Route("POST", "/sources/rename", rename_source),
    Route("POST", "/sources/delete", delete_source),
)
