"""What people edit: flow modules, notebooks, helpers and configuration."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error

SourceKind = Literal["flow", "notebook", "helper", "config"]


class SourceFile(TypedDict):
    """A file that people edit; one that is `linked` lies elsewhere, and is not edited here."""

    path: str
    kind: SourceKind
    flow: str | None
    size: int | None
    modified_at: str | None
    linked: bool


class SourceFiles(TypedDict):
    """What people edit in a workspace; without `actions`, `refusal` says why nothing may be changed."""

    files: list[SourceFile]
    actions: list[Literal["write", "create", "rename", "delete"]]
    refusal: Error | None


class Cell(TypedDict):
    """A cell of a notebook; `#3` stands for the id that the cell of that number lacks."""

    id: str
    kind: Literal["code", "markdown", "raw"]
    source: str


class SourceContent(TypedDict):
    """A file to be edited; a notebook has cells, anything else text. `tag` names this version of it."""

    path: str
    kind: SourceKind
    flow: str | None
    tag: str
    text: str | None
    cells: list[Cell] | None
    size: int
    modified_at: str | None


class Diagnostic(TypedDict):
    """Something for the margin: `line` is of `file`, in a notebook of its cell (an id)."""

    file: str
    flow: str | None
    line: int | None
    column: int | None
    cell: str | None
    severity: Literal["error", "warning", "info"]
    code: str
    message: str
    hint: str


class Diagnostics(TypedDict):
    diagnostics: list[Diagnostic]


class SavedSource(TypedDict):
    """A file as it was saved, with what is wrong with it."""

    path: str
    kind: SourceKind
    flow: str | None
    tag: str
    modified_at: str | None
    diagnostics: list[Diagnostic]


class DeletedSource(TypedDict):
    """A file that is gone, with what is wrong now where it is missed."""

    deleted: str
    diagnostics: list[Diagnostic]


class Uploaded(TypedDict):
    """A file that was put into the source folder of a flow; runs on it alone have this `source_path`."""

    flow: str
    path: str
    size: int
    replaced: bool
    source_path: str
    starts_by_itself: bool
