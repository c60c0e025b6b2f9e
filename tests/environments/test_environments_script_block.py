"""The block in a module, or in a notebook's first code cell, that says what it needs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstead.environments.declaration import Declaration
from flowstead.environments.manifest import Trace
from flowstead.environments.script_block import find_block, read_block
from flowstead.model.errors import ManifestInvalid
from wheels import make_project

BLOCK = """# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "Polars >= 1.0",
#   'duckdb',
# ]
# ///
"""


def read(source: bytes | str, folder: Path = Path("/nowhere"), *, suffix: str = ".py") -> Declaration | None:
    source = source.encode() if isinstance(source, str) else source
    module = f"flow_modules/loading{suffix}"
    block = find_block(source, suffix, module)
    if block is None:
        return None
    declaration, _ = read_block(block, module, folder, Trace(), notebook=suffix == ".ipynb")
    return declaration


def needs(source: bytes | str, *, suffix: str = ".py") -> list[tuple[str, int | None]]:
    declaration = read(source, suffix=suffix)
    assert declaration is not None
    return [(each.text, each.line) for each in declaration.requirements]


def notebook(*cells: str, kind: str = "code") -> bytes:
    return json.dumps({"cells": [{"cell_type": kind, "source": cell} for cell in cells], "nbformat": 4}).encode()


def test_a_block_says_what_is_needed_and_where() -> None:
    declaration = read('"""A flow."""\n\n' + BLOCK + "import polars\n")
    assert declaration is not None
    assert [(each.text, each.file, each.line) for each in declaration.requirements] == [
        ("polars>=1.0", "flow_modules/loading.py", 6),
        ("duckdb", "flow_modules/loading.py", 7),
    ]
    assert (declaration.requires_python, declaration.requires_python_line) == (">=3.11", 4)
    assert declaration.why == "The script block of flow_modules/loading.py lists 2 packages."


@pytest.mark.parametrize(
    "source",
    [
        BLOCK.replace("\n", "\r\n").encode(),
        BLOCK.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + BLOCK.encode(),
        BLOCK.rstrip("\n").encode(),
    ],
)
def test_line_ends_and_marks_do_not_matter(source: bytes) -> None:
    assert needs(source) == [("polars>=1.0", 4), ("duckdb", 5)]


def test_the_encoding_is_the_modules_own() -> None:
    source = "# -*- coding: latin-1 -*-\n# für alle\n" + BLOCK
    assert needs(source.encode("latin-1")) == [("polars>=1.0", 6), ("duckdb", 7)]
    # What Python cannot read either, loading the module says.
    assert read(("# -*- coding: nonsense -*-\n" + BLOCK).encode()) is None
    assert read(b"# \xff\n" + BLOCK.encode()) is None


def test_a_notebook_has_it_in_its_first_code_cell() -> None:
    text = {"cell_type": "markdown", "source": BLOCK}
    cells = [text, {"cell_type": "code", "source": ["import this\n", *BLOCK.splitlines(keepends=True)]}]
    source = json.dumps({"cells": cells, "nbformat": 4}).encode()
    assert needs(source, suffix=".ipynb") == [("polars>=1.0", 5), ("duckdb", 6)]
    declaration = read(source, suffix=".ipynb")
    assert declaration is not None
    assert declaration.why == "The script block in the first code cell of flow_modules/loading.ipynb lists 2 packages."
    escaped = notebook(BLOCK).replace(b"/", b"\\/")
    assert needs(escaped, suffix=".ipynb") == [("polars>=1.0", 4), ("duckdb", 5)]


@pytest.mark.parametrize(
    "source",
    [notebook("import this", BLOCK), notebook(BLOCK, kind="markdown"), notebook(), b"/// no notebook", b"{}///"],
)
def test_a_notebook_without_one_there_has_none(source: bytes) -> None:
    assert read(source, suffix=".ipynb") is None


@pytest.mark.parametrize(
    "source",
    [
        "import polars\n",
        BLOCK.replace("/// script", "/// other"),
        BLOCK.replace("# /// script", "#/// script"),
        BLOCK.replace("# ", "    # "),
        "text = 'x # /// script'\n",
    ],
)
def test_what_is_no_block_is_not_read(source: str) -> None:
    assert read(source) is None


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("import x\n" + BLOCK.replace("# ///\n", ""), 2, "does not end"),
        ("# /// script\nx = 1\n# ///\n", 1, "does not end"),
        (BLOCK + "\nx = 1\n" + BLOCK, 10, "second script block; the first one begins in line 1"),
        (BLOCK + BLOCK, 8, "second script block; the first one begins in line 1"),
        ("# /// script\n# dependencies = [\n# 'a',\n# = 3\n# ///\n", 4, "not valid TOML"),
        ("# /// script\n# dependencies = [\n# ///\n", 2, "not valid TOML"),
        ("\n# /// script\n# dependencies = ['ok',\n#  'not ok at all']\n# ///\n", 4, "'not ok at all'"),
        ("# /// script\n# dependencies = 'alpha'\n# ///\n", 2, "no list under 'dependencies'"),
        ("# /// script\n#\n# dependencies = ['a', 1]\n# ///\n", 3, "has 1 in 'dependencies'"),
        ("# /// script\n# requires-python = 'new'\n# ///\n", 2, "no version specifier: 'new'"),
        ("# /// script\n# requires-python = 3.11\n# ///\n", 2, "no text"),
        ("# /// script\n# dependencies = ['x @ ../gone']\n# ///\n", 2, "not there"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(source: str, line: int, words: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        read(source)
    assert caught.value.code == "manifest-invalid" and caught.value.hint
    assert caught.value.detail == {"file": "flow_modules/loading.py", "line": line}
    assert words in caught.value.message and f"flow_modules/loading.py:{line}" in caught.value.message


def test_settings_of_uv_and_paths_are_relative_to_the_module(tmp_path: Path) -> None:
    folder = tmp_path / "flow_modules"
    make_project(tmp_path / "near", "near")
    folder.mkdir()
    source = """# /// script
# dependencies = ["near", "far @ ../near"]
# [tool.uv]
# find-links = ["wheels"]
# [tool.uv.sources]
# near = { path = "../near", editable = true }
# ///
"""
    declaration = read(source, folder)
    assert declaration is not None
    near = str(tmp_path / "near")
    assert declaration.tool_uv == {
        "find-links": [str(folder / "wheels")],
        "sources": {"near": {"path": near, "editable": True}},
    }
    assert [each.text for each in declaration.requirements] == ["near", f"far @ file://{near}"]
    assert set(declaration.local) == {near}


# The block as the standard describes it, to compare with; ours refuses what it passes over.
REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
LINES = st.lists(st.sampled_from(["# /// script", "# ///", "#", "# x = 1", "# y = 2", "x = 1", "", "#no"]), max_size=12)


@settings(max_examples=500)
@given(LINES)
def test_blocks_are_found_as_the_standard_has_them(lines: list[str]) -> None:
    source = "\n".join(lines) + "\n"
    expected = [found for found in REFERENCE.finditer(source) if found.group("type") == "script"]
    try:
        block = find_block(source.encode(), ".py", "m.py")
    except ManifestInvalid:
        # Refused: two of them, one that does not end, or one that would take the beginning of another along.
        starts = lines.count("# /// script")
        assert starts > 1 or not expected
        return
    content = "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in (expected[0].group("content") if expected else "").splitlines(keepends=True)
    )
    if block is None or not block.text:
        assert not expected or not content.strip()
        return
    assert len(expected) == 1 and block.text.rstrip("\n") == content.rstrip("\n")
    try:
        tomllib.loads(content)
    except tomllib.TOMLDecodeError:
        return
    assert source.splitlines()[block.above - 1] == "# /// script"
