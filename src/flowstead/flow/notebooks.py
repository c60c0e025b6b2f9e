"""Notebooks as flow modules: the code cells of nbformat 4 text, in order."""

from __future__ import annotations

import json
import tokenize
from typing import Any

from flowstead.flow.errors import FlowDefinitionError


class ModuleLoadError(FlowDefinitionError):
    """The text of a flow module cannot become a flow.

    `line` (1-based, within the cell of a notebook) and `cell` (code cells counted from 1) say where, when known.
    """

    def __init__(
        self, message: str, *, code: str, hint: str = "", line: int | None = None, cell: int | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.line = line
        self.cell = cell


def code_cells(source: bytes) -> list[str]:
    """The text of each code cell of the notebook `source`; other cells are left out.

    Raises ModuleLoadError with code `notebook-invalid`.
    """
    try:
        notebook = json.loads(source)
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise _invalid(f"This is not a notebook: its JSON does not parse ({error}).", line) from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise _invalid("This is not an nbformat 4 notebook: it has no list of cells.")
    language = _language(notebook.get("metadata"))
    if language != "python":
        raise _invalid(f"This notebook is written in {language}; a flow needs Python.")
    cells: list[str] = []
    for cell in notebook["cells"]:
        if not isinstance(cell, dict):
            raise _invalid("This is not an nbformat 4 notebook: one of its cells is not an object.")
        if cell.get("cell_type") != "code":
            continue
        text = cell.get("source", "")
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "".join(text)
        if not isinstance(text, str):
            raise _invalid(f"Code cell {len(cells) + 1} has no readable source.")
        cells.append(text)
    return cells


def magic_line(text: str) -> int | None:
    """The number of the first line of a cell that does not parse as Python because it is a magic (`%`, `!`), or None.

    A line that only continues a string, a bracket or a backslash is no magic, whatever it starts with.
    """
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if line.lstrip()[:1] in ("%", "!") and _complete(lines[:index]):
            return index + 1
    return None


def _complete(lines: list[str]) -> bool:
    """Whether a new statement may begin after `lines`."""
    if lines and lines[-1].rstrip("\r\n").endswith("\\"):
        return False
    try:
        for _ in tokenize.generate_tokens(iter(lines).__next__):
            pass
    except tokenize.TokenError as error:
        return not ("EOF in multi-line" in error.args[0] or "triple-quoted" in error.args[0])
    except SyntaxError:
        return True
    return True


def _language(metadata: Any) -> str:
    for key, field in (("language_info", "name"), ("kernelspec", "language")):
        section = metadata.get(key) if isinstance(metadata, dict) else None
        name = section.get(field) if isinstance(section, dict) else None
        if isinstance(name, str):
            return name.lower()
    return "python"


def _invalid(message: str, line: int | None = None) -> ModuleLoadError:
    hint = "Open it in Jupyter or VS Code and save it again as an nbformat 4 notebook with a Python kernel."
    return ModuleLoadError(message, code="notebook-invalid", hint=hint, line=line)
