"""What a module says itself that it needs, in a `# /// script` block (PEP 723)."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from flowstead.environments.declaration import Declaration
from flowstead.environments.manifest import Toml, Trace, checked_python, invalid
from flowstead.environments.project_file import Listed, counted, finished, verdict

_START = "# /// script"
_END = "# ///"


@dataclass(frozen=True, slots=True)
class Block:
    """The TOML of a block, and how many lines of the module, or of the notebook's first code cell, are above it."""

    text: str
    above: int


def find_block(source: bytes, suffix: str, module: str) -> Block | None:
    """The block of a module or of a notebook's first code cell, None where there is none.

    Raises ManifestInvalid for two of them, and one that does not end.
    """
    # Looked for in the bytes: most modules have none, and this is asked at each run. JSON may write / as \/.
    if b"///" not in source and not (suffix == ".ipynb" and (b"\\/" in source or b"\\u00" in source)):
        return None
    text = _text(source, suffix)
    return None if text is None else _block(text, module)


def read_block(
    block: Block, module: str, folder: Path, trace: Trace, *, notebook: bool
) -> tuple[Declaration | None, str]:
    """What a block says, and in a few words what it came to; paths in it are relative to `folder`, the module's.

    Raises ManifestInvalid.
    """
    toml = Toml(block.text, module, offset=block.above)
    if "dependencies" not in toml.top and "requires-python" not in toml.top:
        return None, "has a script block with neither dependencies nor requires-python"
    listed = Listed()
    for text in toml.texts(toml.top.get("dependencies", []), "dependencies"):
        listed.add(text, toml, folder, trace, "dependencies")
    python = toml.top.get("requires-python")
    place = f"first code cell of {module}" if notebook else module
    declaration = Declaration(
        "uv",
        module,
        f"The script block in the {place} lists {counted(len(listed.requirements))}."
        if notebook
        else f"The script block of {place} lists {counted(len(listed.requirements))}.",
        requires_python=None if python is None else checked_python(python, toml, "requires-python"),
        requires_python_line=toml.line("requires-python") if python is not None else None,
    )
    lock = folder / f"{module.rpartition('/')[2]}.lock"
    return finished(declaration, listed, toml, folder, trace, lock=lock), verdict(listed)


def _text(source: bytes, suffix: str) -> str | None:
    """The text of a module, or of a notebook's first code cell; None where it cannot be had, which loading it says."""
    if suffix == ".ipynb":
        from flowstead.flow.notebooks import ModuleLoadError, code_cells

        try:
            cells = code_cells(source)
        except (ModuleLoadError, RecursionError):
            return None
        return cells[0] if cells else None
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return source.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None


def _block(text: str, module: str) -> Block | None:
    lines = re.split(r"\r\n|\r|\n", text)
    found: Block | None = None
    number = 0
    while number < len(lines):
        if lines[number] != _START:
            number += 1
            continue
        begun = number
        number += 1
        end: int | None = None
        while number < len(lines) and (lines[number] == "#" or lines[number].startswith("# ")):
            if lines[number] == _START:
                break
            # As the standard has it: the block ends with the last such line before one that is no comment.
            end = number if lines[number] == _END else end
            number += 1
        if end is None:
            raise invalid(
                "has a script block that does not end",
                module,
                begun + 1,
                hint="End it with a line '# ///', and begin each line in between with '#'.",
            )
        if found is not None:
            raise invalid(
                f"has a second script block; the first one begins in line {found.above}",
                module,
                begun + 1,
                hint="Put all dependencies into one of them.",
            )
        found = Block("\n".join(line[2:] for line in lines[begun + 1 : end]), begun + 1)
    return found
