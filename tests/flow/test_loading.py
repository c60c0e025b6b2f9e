"""Flow modules and notebooks become module objects, wherever their text came from."""

import json
import linecache
import pickle
import sys
import traceback
from pathlib import Path

import pytest

from flowstead.flow.loading import ModuleLoadError, build_flow, load_module, load_version


def notebook(*cells, **metadata):
    """nbformat 4 text: a str is a code cell, a tuple is `(cell_type, source)`."""
    made = [("code", cell) if isinstance(cell, str) else cell for cell in cells]
    body = {
        "cells": [{"cell_type": kind, "source": text, "metadata": {}} for kind, text in made],
        "metadata": metadata,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(body).encode()


@pytest.fixture
def modules(tmp_path):
    folder = tmp_path / "flow_modules"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def untouched_path():
    before = list(sys.path)
    yield
    assert sys.path == before
    for name in [name for name in sys.modules if name.startswith(("flow_modules.", "flow_helpers_"))]:
        del sys.modules[name]


def write(folder: Path, relative: str, text: str) -> Path:
    file = folder / relative
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def load(folder: Path, stem: str, text: str | bytes, suffix=".py", helpers: Path | None = None):
    source = text.encode() if isinstance(text, str) else text
    return load_module(source, origin=folder / f"{stem}{suffix}", stem=stem, helpers_dir=helpers)


def test_a_module_knows_its_name_and_its_authored_file(modules):
    module = load(modules, "daily", "here = __file__\nname = __name__\n")
    assert module.name == "flow_modules.daily"
    assert module.here == str(modules / "daily.py")
    assert sys.modules["flow_modules.daily"] is module


def test_a_module_named_like_another_shadows_nothing(modules):
    write(modules, "csv.py", "value = 'ours'\n")
    write(modules, "polars.py", "value = 'ours'\n")
    module = load(modules, "csv", (modules / "csv.py").read_bytes())
    other = load(modules, "other", "import csv\nread = csv.reader\nimport polars\nframe = polars.DataFrame\n")
    assert module.value == "ours"
    assert other.read is __import__("csv").reader
    assert other.frame is __import__("polars").DataFrame


def test_classes_of_flow_modules_pickle_by_name(modules):
    text = "from dataclasses import dataclass\n@dataclass\nclass Row:\n    n: int\n    other: 'Row | None' = None\n"
    module = load(modules, "rows of may", text)
    again = pickle.loads(pickle.dumps(module.Row(3)))
    assert again == module.Row(3)
    assert type(again) is module.Row


def test_a_module_that_fails_is_not_left_behind(modules):
    good = load(modules, "m", "value = 1\n")
    with pytest.raises(ZeroDivisionError):
        load(modules, "m", "1 / 0\n")
    assert sys.modules["flow_modules.m"] is good
    with pytest.raises(ZeroDivisionError):
        load(modules, "never", "1 / 0\n")
    assert "flow_modules.never" not in sys.modules


def test_tracebacks_show_the_loaded_text_at_the_authored_place(modules):
    write(modules, "late.py", "# edited meanwhile\n# and\n# longer\n")
    module = load(modules, "late", "def step():\n    return 1 / 0  # as it was\n")
    with pytest.raises(ZeroDivisionError) as caught:
        module.step()
    linecache.checkcache()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno) == (str(modules / "late.py"), 2)
    assert frame.line == "return 1 / 0  # as it was"


def test_encodings_and_future_imports_of_this_package_do_not_leak(modules):
    module = load(modules, "cookie", "# -*- coding: latin-1 -*-\nname = 'Zürich'\n".encode("latin-1"))
    assert module.name == "Zürich"
    module = load(modules, "bom", b"\xef\xbb\xbfname = 'B\xc3\xa9b\xc3\xa9'\n")
    assert module.name == "Bébé"
    assert load(modules, "plain", "def f(x: int): pass\n").f.__annotations__ == {"x": int}


def test_notebook_cells_run_in_order_and_keep_their_own_lines(modules):
    text = notebook(
        ("markdown", "# Title\n%not a magic"),
        "import math\nx = 2\n",
        ("raw", "!ls"),
        "",
        "def fail():\n\n    raise ValueError(x)\n",
    )
    module = load(modules, "note", text, ".ipynb")
    with pytest.raises(ValueError) as caught:
        module.fail()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno) == (f"{modules / 'note.ipynb'}#cell-3", 3)
    assert frame.line == "raise ValueError(x)"


def test_a_source_given_as_a_list_of_lines_is_the_same_notebook(modules):
    text = json.loads(notebook("a = 1\nb = 2"))
    text["cells"][0]["source"] = ["a = 1\n", "b = 2"]
    assert load(modules, "lines", json.dumps(text), ".ipynb").b == 2


def test_a_future_import_holds_for_the_cells_after_it(modules):
    text = notebook("from __future__ import annotations\n", "def f(x: Missing): pass\n")
    assert load(modules, "future", text, ".ipynb").f.__annotations__ == {"x": "Missing"}


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%matplotlib inline\n", 1),
        ("import os\n!ls -l\n", 2),
        ("%%time\nx = 1\n", 1),
        ("if True:\n    %cd ..\n", 2),
        ('text = """\n% inside\n"""\n\n%time\n', 5),
        ("x = (7\n% 2)\n!pwd\n", 3),
    ],
)
def test_magics_are_refused_with_their_cell_and_line(modules, cell, line):
    with pytest.raises(ModuleLoadError) as caught:
        load(modules, "magic", notebook("x = 1\n", cell), ".ipynb")
    error = caught.value
    assert (error.code, error.cell, error.line) == ("notebook-magic", 2, line)
    assert "cell 2" in error.message
    assert "flow_modules.magic" not in sys.modules


@pytest.mark.parametrize(
    "cell",
    [
        'a = """\n%matplotlib\n!ls\n"""\n',
        "a = (7\n% 4)\n",
        "a = 7 \\\n% 4\n",
        "a = f'''\n{1\n}\n% b\n'''\n",
        "# comment\n#!shebang\na = 1\n",
    ],
)
def test_percent_signs_of_plain_python_are_no_magics(modules, cell):
    assert load(modules, "fine", notebook(cell), ".ipynb").a


def test_a_syntax_error_in_a_cell_stays_one_despite_percent_signs(modules):
    with pytest.raises(SyntaxError) as caught:
        load(modules, "wrong", notebook('text = """\n%x\n"""\ndef broken(:\n    pass\n'), ".ipynb")
    assert (caught.value.filename, caught.value.lineno) == (f"{modules / 'wrong.ipynb'}#cell-1", 4)


@pytest.mark.parametrize(
    "text",
    [
        b"{not json",
        b"\xff\xfe\x00",
        b"[]",
        b'{"worksheets": []}',
        b'{"cells": ["x"]}',
        b'{"cells": [{"cell_type": "code", "source": 3}]}',
        notebook("x <- 1", language_info={"name": "R"}),
        notebook("x <- 1", kernelspec={"language": "julia"}),
    ],
)
def test_what_is_no_python_notebook_is_refused(modules, text):
    with pytest.raises(ModuleLoadError) as caught:
        load(modules, "broken", text, ".ipynb")
    assert caught.value.code == "notebook-invalid"
    assert caught.value.hint


def test_helpers_of_two_workspaces_stay_apart(tmp_path):
    text = (
        "import flow_helpers.nested.labels\n"
        "import flow_helpers.nested.labels as renamed\n"
        "from flow_helpers import common\n"
        "from flow_helpers.common import name\n"
        "def step():\n"
        "    from flow_helpers.late import when\n"
        "    import flow_helpers.nested.labels as inside\n"
        "    return when, inside.label(), inside.Label('x'), eval(\"__import__('flow_helpers.late').late.when\")\n"
        "top = flow_helpers.nested.labels.label()\n"
        "same = renamed is flow_helpers.nested.labels\n"
    )
    loaded = []
    for who in ("one", "two"):
        folder = tmp_path / who / "flow_modules"
        write(folder, "flow_helpers/common.py", f"name = {who!r}\n")
        write(folder, "flow_helpers/late.py", f"when = 'late {who}'\n")
        write(folder, "flow_helpers/nested/__init__.py", "from .labels import label\n")
        labels = "from ..common import name\nclass Label(str): pass\ndef label():\n"
        labels += "    from flow_helpers.common import name as again\n    return name + again\n"
        write(folder, "flow_helpers/nested/labels.py", labels)
        loaded.append((who, load(folder, "flow", text, helpers=folder / "flow_helpers")))
    for who, module in loaded:
        when, label, instance, evaluated = module.step()
        assert module.name == who
        assert module.common.name == who
        assert module.top == label == who + who
        assert module.same
        assert when == evaluated == f"late {who}"
        again = pickle.loads(pickle.dumps(instance))
        assert again == "x"
        assert type(again) is type(instance)
    assert "flow_helpers" not in sys.modules


def test_helpers_read_from_a_copy_are_told_as_the_authored_files(modules, tmp_path):
    copy = tmp_path / "copy"
    write(copy, "rates.py", "here = __file__\ndef rate():\n    raise LookupError\n")
    module = load(modules, "billing", "from flow_helpers import rates\n", helpers=copy)
    authored = str(modules / "flow_helpers" / "rates.py")
    assert module.rates.here == authored
    with pytest.raises(LookupError) as caught:
        module.rates.rate()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno, frame.line) == (authored, 3, "raise LookupError")


def test_missing_helpers_are_named_as_the_author_wrote_them(modules):
    write(modules, "flow_helpers/known.py", "import not_there_at_all\n")
    for text, name in (
        ("import flow_helpers.nothing\n", "flow_helpers.nothing"),
        ("from flow_helpers.no.where import x\n", "flow_helpers.no"),
        ("import flow_helpers.known\n", "not_there_at_all"),
    ):
        with pytest.raises(ModuleNotFoundError) as caught:
            load(modules, "m", text, helpers=modules / "flow_helpers")
        assert caught.value.name == name
        assert str(caught.value) == f"No module named {name!r}"
    with pytest.raises(ModuleNotFoundError):
        load(modules, "m", "import flow_helpers.known\n", helpers=None)


def test_an_edited_helper_is_imported_anew_and_an_unchanged_one_is_shared(modules):
    helpers = modules / "flow_helpers"
    write(helpers, "rates.py", "class Rate: pass\nvalue = 1\n")
    first = load(modules, "a", "from flow_helpers.rates import Rate, value\n", helpers=helpers)
    second = load(modules, "b", "from flow_helpers.rates import Rate, value\n", helpers=helpers)
    assert first.Rate is second.Rate
    write(helpers, "rates.py", "class Rate: pass\nvalue = 2\n")
    assert load(modules, "c", "from flow_helpers.rates import Rate, value\n", helpers=helpers).value == 2


FLOW = """
from flowstead import Flow

def build():
    return Flow("tests").step(work)

def work(context):
    return 1
"""


def test_a_stored_version_builds_the_flow_bound_to_its_authored_place(modules, tmp_path):
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "module.py").write_text(FLOW)
    flow = load_version(folder, None, origin=modules / "daily.py", stem="daily", workspace_root=tmp_path)
    assert (flow.name, flow.module_dir) == ("daily", modules)
    (folder / "module.ipynb").write_bytes(notebook(FLOW.partition("def work")[0], "def work(context): pass"))
    flow = load_version(folder, None, origin=modules / "note.ipynb", stem="note", workspace_root=tmp_path)
    assert flow.name == "note"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("x = 1\n", "build-missing", "build()"),
        ("build = 3\n", "build-invalid", "an int"),
        ("def build(day):\n    pass\n", "build-invalid", "day"),
        ("def build():\n    pass\n", "build-invalid", "returned None"),
        ("def build():\n    return 'flow'\n", "build-invalid", "returned a str"),
    ],
)
def test_a_module_without_a_proper_build_says_what_is_wrong(modules, text, code, says):
    module = load(modules, "m", text)
    with pytest.raises(ModuleLoadError) as caught:
        build_flow(module, stem="m", module_dir=modules, workspace_root=None)
    assert caught.value.code == code
    assert says in caught.value.message
    assert caught.value.hint
