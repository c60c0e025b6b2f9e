"""Notebooks as cells: read for an editor, and written so that nothing of what was not edited is lost."""

from __future__ import annotations

import codecs
import json
import re
import secrets
from typing import Any

from flowstead.daemon.authoring.text import check
from flowstead.model.errors import FlowsteadError, UsageError

KINDS = ("code", "markdown", "raw")
MOST_CELLS = 5000
_ID = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_INDENT = re.compile(r"\A\s*\{\r?\n( *|\t*)\"")

Cell = dict[str, Any]


def cells_of(content: bytes, name: str) -> list[Cell]:
    """`[{id, kind, source}]`. A cell without an id of its own has its number, as `#3`. Raises FlowsteadError."""
    return _shown(_parse(content, name))


def with_cells(content: bytes, cells: list[Cell], name: str) -> bytes:
    """The notebook `content` with these cells: those of known ids keep outputs, attachments and metadata.

    Raises UsageError (`cells-invalid`, `text-invalid`, `text-too-large`), and FlowsteadError (`notebook-invalid`).
    """
    _check(cells)
    notebook = _parse(content, name)
    shown = _shown(notebook)
    if [(each["id"], each["kind"], each["source"]) for each in shown] == [
        (each.get("id"), each["kind"], each["source"]) for each in cells
    ]:
        return content
    known = {each["id"]: (each, cell) for each, cell in zip(shown, notebook["cells"], strict=True)}
    has_ids = (notebook.get("nbformat", 4), notebook.get("nbformat_minor", 0)) >= (4, 5)
    taken = {each["id"] for each in cells if each.get("id") in known}
    made: list[Cell] = []
    for each in cells:
        before = known.get(each.get("id") or "")
        if before is not None:
            made.append(_changed(*before, each))
            continue
        wanted = each.get("id")
        if wanted is None or wanted in taken or not _ID.fullmatch(wanted):
            wanted = secrets.token_hex(4)
        taken.add(wanted)
        made.append(_new(each, wanted if has_ids else None))
    notebook["cells"] = made
    try:
        return _written(notebook, content)
    except RecursionError:
        raise _invalid(name, "it is nested too deeply") from None


def new_notebook(*sources: tuple[str, str]) -> bytes:
    """A notebook with these cells, each `(kind, source)`."""
    cells = [_new({"kind": kind, "source": source}, secrets.token_hex(4)) for kind, source in sources]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _parse(content: bytes, name: str) -> Any:
    try:
        notebook = json.loads(content.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError) as error:
        raise _invalid(name, f"its JSON does not parse ({error})", line=getattr(error, "lineno", None)) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(each, dict) for each in cells):
        raise _invalid(name, "it has no list of cells")
    for each in cells:
        source = _source(each)
        if each.get("cell_type") not in KINDS or source is None:
            raise _invalid(name, "it has a cell that is no code, Markdown or raw text")
        if any("\ud800" <= letter <= "\udfff" for letter in source):
            raise _invalid(name, "a cell holds characters that UTF-8 does not have")
    return notebook


def _shown(notebook: Any) -> list[Cell]:
    found: list[Cell] = []
    seen: set[str] = set()
    for number, cell in enumerate(notebook["cells"]):
        given = cell.get("id")
        own = isinstance(given, str) and _ID.fullmatch(given) and given not in seen
        name = given if own else f"#{number}"
        seen.add(name)
        found.append({"id": name, "kind": cell["cell_type"], "source": _source(cell)})
    return found


def _source(cell: Cell) -> str | None:
    source = cell.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    return source if isinstance(source, str) else None


def _changed(shown: Cell, cell: Cell, given: Cell) -> Cell:
    """The cell as it is in the file, with what was edited of it."""
    if (shown["kind"], shown["source"]) == (given["kind"], given["source"]):
        return cell
    made = dict(cell)
    made["source"] = _as_in(cell.get("source"), given["source"])
    if given["kind"] != cell["cell_type"]:
        made["cell_type"] = given["kind"]
        # What only cells of the one kind may have.
        for only in ("outputs", "execution_count", *(() if given["kind"] != "code" else ("attachments",))):
            made.pop(only, None)
        if given["kind"] == "code":
            made |= {"execution_count": None, "outputs": []}
    return made


def _new(given: Cell, name: str | None) -> Cell:
    made: Cell = {"cell_type": given["kind"]}
    if given["kind"] == "code":
        made["execution_count"] = None
    if name is not None:
        made["id"] = name
    made["metadata"] = {}
    if given["kind"] == "code":
        made["outputs"] = []
    made["source"] = _as_in([], given["source"])
    return made


def _as_in(before: Any, source: str) -> str | list[str]:
    return source if isinstance(before, str) else re.findall(r"[^\n]*\n|[^\n]+", source)


def _written(notebook: Any, before: bytes) -> bytes:
    """As JSON in the manner of what the file held before."""
    text = before.decode("utf-8-sig")
    indent = _INDENT.match(text)
    how: dict[str, Any] = {
        "indent": None if indent is None else indent[1] or 0,
        "separators": (",", ": ") if indent is not None or '": ' in text[:200] else (",", ":"),
    }
    made = json.dumps(notebook, ensure_ascii=text.isascii() and "\\u" in text, **how)
    if any("\ud800" <= letter <= "\udfff" for letter in made):
        made = json.dumps(notebook, **how)  # some output holds half a character, which only an escape can tell
    if text.endswith("\n"):
        made += "\n"
    if "\r\n" in text:
        made = made.replace("\n", "\r\n")
    return (codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b"") + made.encode()


def _check(cells: object) -> None:
    if not isinstance(cells, list) or len(cells) > MOST_CELLS:
        raise UsageError(f"cells is a list of at most {MOST_CELLS:,} cells.", code="cells-invalid")
    ids = [each.get("id") for each in cells if isinstance(each, dict) and each.get("id") is not None]
    for each in cells:
        if (
            not isinstance(each, dict)
            or not each.keys() <= {"id", "kind", "source"}
            or each.get("kind") not in KINDS
            or not isinstance(each.get("source"), str)
            or not isinstance(each.get("id", ""), str | None)
        ):
            raise UsageError(
                "A cell is {id, kind, source}, and its kind is code, markdown or raw.", code="cells-invalid"
            )
    if len(set(ids)) != len(ids):
        raise UsageError("Two cells have one id.", code="cells-invalid", hint="Give new cells none.")
    check("\n".join(each["source"] for each in cells))


def _invalid(name: str, why: str, **detail: object) -> FlowsteadError:
    return FlowsteadError(
        f"{name} is not a notebook that can be edited here: {why}.",
        code="notebook-invalid",
        hint="Open it in Jupyter or VS Code and save it again as an nbformat 4 notebook.",
        **detail,
    )
