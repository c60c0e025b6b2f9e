"""What the catalog makes of a folder of modules, with real describing processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowstead.catalog import Catalog, read_version
from flowstead.flow.loading import load_version
from flowstead.model.errors import FlowNotFound, FlowsteadError, StorageError
from flowstead.workspace.layout import WorkspaceLayout

GOOD = """
from flowstead import Flow

DESCRIPTION = "Adds one."

def build():
    return Flow("tests").step(add, save_as="raw").step(show)

def add(context):
    return 1

def show(context):
    return context.current
"""


def counting(file: Path, text: str = GOOD) -> str:
    """`text`, which leaves a line in `file` each time it is executed."""
    return f"with open({str(file)!r}, 'a') as _file: _file.write('seen\\n')\n{text}"


def times(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def layout(workspace, home):
    return WorkspaceLayout.of(workspace.root)


@pytest.fixture
def catalog(layout):
    return Catalog(layout)


def by_name(catalog: Catalog, **options):
    return {entry.name: entry for entry in catalog.entries(**options)}


def notebook(*cells: str) -> str:
    made = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_modules_and_notebooks_are_flows_and_nothing_else_is(workspace, catalog):
    for name in ("b", "a", "with-dash", "1st flow"):
        workspace.module(f"{name}.py", GOOD)
    workspace.module("note.ipynb", notebook("from flowstead import Flow", GOOD))
    for name in ("_private.py", ".hidden.py", "~$lock.py", "notes.txt", "flow_helpers/x.py", "folder/y.py"):
        workspace.module(name, "raise SystemError")
    (workspace.flow_modules / "looks_like.py").mkdir()
    entries = catalog.entries()
    assert [entry.name for entry in entries] == ["1st flow", "a", "b", "note", "with-dash"]
    for entry in entries:
        assert entry.error is None
        assert entry.spec.name == entry.name
        assert entry.spec.description == "Adds one."
        assert [step.name for step in entry.spec.steps] == ["add", "show"]
        assert entry.path.is_file()


def test_an_entry_is_found_by_name_and_a_wrong_name_tells_the_near_ones(workspace, catalog, tmp_path):
    workspace.module("clean_flights", GOOD)
    workspace.module("other", counting(tmp_path / "seen"))
    assert catalog.entry("clean_flights").spec.name == "clean_flights"
    assert times(tmp_path / "seen") == 0
    for name in ("clean_flight", "../flow_modules/clean_flights", ""):
        with pytest.raises(FlowNotFound) as caught:
            catalog.entry(name)
        assert caught.value.exit_code == 3
        if name:
            assert "clean_flights" in caught.value.hint


def test_a_version_holds_the_bytes_that_were_described(workspace, layout, catalog):
    text = notebook("from flowstead import Flow", GOOD)
    path = workspace.module("note.ipynb", text)
    workspace.module("flow_helpers/nested/labels.py", "label = 1\n")
    entry = catalog.entry("note")
    path.write_text("{}")
    version = read_version(layout, entry.digest)
    assert (version.folder / "module.ipynb").read_text() == text
    assert (version.helpers / "nested" / "labels.py").read_text() == "label = 1\n"
    assert (version.name, version.origin, version.spec) == ("note", path, entry.spec)
    flow = load_version(
        version.folder, version.helpers, origin=version.origin, stem=version.name, workspace_root=layout.root
    )
    assert [step.name for step in flow.steps] == ["add", "show"]
    with pytest.raises(FlowNotFound) as caught:
        read_version(layout, "0" * 64)
    assert caught.value.code == "version-missing"


def test_unchanged_content_is_not_described_again(workspace, layout, tmp_path):
    seen = tmp_path / "seen"
    path = workspace.module("a", counting(seen))
    first = Catalog(layout).entry("a")
    assert times(seen) == 1
    os.utime(path, (1, 1))
    assert Catalog(layout).entries() == [first]
    assert times(seen) == 1
    before = path.read_text()
    status = path.stat()
    path.write_text(before.replace("return 1", "return 2"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Catalog(layout).entry("a").digest != first.digest
    assert times(seen) == 2
    path.write_text(before)
    assert Catalog(layout).entry("a") == first
    assert times(seen) == 2


def test_a_stored_catalog_is_read_without_writing(workspace, layout, catalog):
    workspace.module("a", GOOD)
    workspace.module("broken", "def build(: pass\n")
    first = catalog.entries()
    files = {path: path.stat().st_mtime_ns for path in layout.local.rglob("*")}
    assert catalog.entries() == first
    assert {path: path.stat().st_mtime_ns for path in layout.local.rglob("*")} == files
    assert not list(layout.versions.glob(".staging-*"))


def test_a_changed_helper_makes_a_new_version(workspace, catalog, tmp_path):
    seen = tmp_path / "seen"
    workspace.module("a", counting(seen, "from flow_helpers.deep.rates import rate\n" + GOOD))
    workspace.module("flow_helpers/deep/rates.py", "rate = 1\n")
    first = catalog.entry("a")
    workspace.module("flow_helpers/__pycache__/junk.py", "x")
    workspace.module("flow_helpers/.draft.py", "x")
    workspace.module("flow_helpers/notes.md", "x")
    assert catalog.entry("a") == first
    assert times(seen) == 1
    workspace.module("flow_helpers/deep/rates.py", "rate = 2\n")
    second = catalog.entry("a")
    assert second.digest != first.digest
    workspace.module("flow_helpers/deep/rates.py", "rate = 1\n")
    (workspace.flow_modules / "flow_helpers/deep/rates.py").rename(workspace.flow_modules / "flow_helpers/rates.py")
    third = catalog.entry("a")
    assert third.digest not in (first.digest, second.digest)
    assert third.error["code"] == "import-missing"
    assert times(seen) == 3


BROKEN = {
    "syntax": ("x = 1\ndef build(:\n    pass\n", "module-error", "SyntaxError", 2, ""),
    "name": ("def build():\n    return pl.col\n", "module-error", "NameError", 2, "import polars as pl"),
    "near_name": ("total = 1\nprint(totl)\n", "module-error", "NameError", 2, "total"),
    "attribute": ("import math\nmath.sqroot\n", "module-error", "AttributeError", 2, "sqrt"),
    "missing": ("import nothing_of_that_name\n", "import-missing", "ModuleNotFoundError", 1, "Name"),
    "misspelt": ("import polrs\n", "import-missing", "ModuleNotFoundError", 1, "polars"),
    "wrong_import": ("from math import sqroot\n", "import-missing", "ImportError", 1, "sqrt"),
    "sibling": ("import syntax\n", "import-missing", "ModuleNotFoundError", 1, "flow_helpers"),
    "helper": ("from flow_helpers.lables import x\n", "import-missing", "ModuleNotFoundError", 1, "labels"),
    "raises": ("def build():\n    raise KeyError('x')\n", "module-error", "KeyError", 2, "flowstead check"),
    "no_build": ("x = 1\n", "build-missing", "ModuleLoadError", None, "build"),
    "no_flow": ("x = 1\ndef build():\n    return 3\n", "build-invalid", "ModuleLoadError", 2, "Flow("),
    "asks": ("input('?')\n", "module-error", "EOFError", 1, ".ask("),
    "sys_exit": ("import sys\nsys.exit(3)\n", "module-exited", "SystemExit", 2, "Remove"),
    "os_exit": ("import os\nos._exit(3)\n", "module-exited", "SystemExit", None, "os._exit"),
    "crash": ("import ctypes\nctypes.string_at(0)\n", "module-crashed", "SIGSEGV", 2, "native"),
    "kill": ("import os\nos.kill(os.getpid(), 9)\n", "module-crashed", "SIGKILL", None, "native"),
    "interrupts": ("raise KeyboardInterrupt\n", "module-error", "KeyboardInterrupt", 1, "check"),
    "odd_error": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd\n",
        "module-error",
        "Odd",
        3,
        "check",
    ),
    "definition": (
        "from flowstead import Flow\ndef build():\n    return Flow('g').watch(mode='sometimes')\n",
        "definition-invalid",
        "FlowDefinitionError",
        3,
        "",
    ),
}


def test_every_broken_module_shows_its_own_error_and_hides_no_other(workspace, catalog):
    workspace.module("flow_helpers/labels.py", "x = 1\n")
    for name, (text, *_) in BROKEN.items():
        workspace.file(f"flow_modules/{name}.py").write_text(text)
        workspace.module(f"{name}_and_after", GOOD)
    workspace.module("loud", "import os\nprint('x' * 5_000_000)\nos.write(1, b'{}\\n' * 100_000)\n" + GOOD)
    workspace.module("meddles", "import os, sys\nos.chdir('/')\nsys.path.clear()\nos.environ.clear()\n" + GOOD)
    workspace.module("closes", "import os, sys\nsys.stdout.close()\nos.closerange(0, 3)\n" + GOOD)
    entries = by_name(catalog)
    for name, (_, code, kind, line, hint) in BROKEN.items():
        error = entries[name].error
        assert (error["code"], error["type"], error["line"]) == (code, kind, line), name
        assert error["file"] == f"flow_modules/{name}.py", name
        assert error["message"], name
        assert error["hint"], name
        assert hint in error["hint"], name
        assert isinstance(error["traceback"], str)
        assert entries[name].spec is None
        assert entries[name].digest
    for name, entry in entries.items():
        assert entry.spec is not None or name in BROKEN, (name, entry.error)
    assert "sometimes" in entries["definition"].error["message"]


def test_a_hanging_module_is_stopped_with_all_it_started_and_tells_where_it_hung(workspace, layout, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Its grandchild holds the pipe open for as long as it lives.
    workspace.module(
        "hangs",
        f"""
        import subprocess, sys, time
        text = "import sys, time; f = open(sys.argv[1], 'w'); f.write('up'); f.flush(); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", text, {str(pipe)!r}])
        def wait():
            time.sleep(600)
        wait()
        """,
    )
    workspace.module("works", GOOD)
    told = []
    reader = threading.Thread(target=lambda: told.append(pipe.read_text()), daemon=True)
    reader.start()
    entries = by_name(Catalog(layout, time_limit=1.5))
    assert entries["works"].spec
    error = entries["hangs"].error
    assert (error["code"], error["line"]) == ("module-timeout", 5)
    assert error["file"] == "flow_modules/hangs.py"
    reader.join(10)
    assert not reader.is_alive()
    assert told == ["up"]


def test_a_stopped_describing_process_is_given_up(workspace, layout):
    workspace.module("stops", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n")
    workspace.module("works", GOOD)
    entries = by_name(Catalog(layout, time_limit=0.5))
    assert entries["stops"].error["code"] == "module-timeout"
    assert entries["works"].spec


def test_a_module_that_closes_the_standard_files_leaves_them_to_the_next(workspace, catalog):
    workspace.module("a_closes", "import os, sys\nsys.stdout.close()\nos.closerange(0, 3)\n" + GOOD)
    workspace.module("b_prints", "import os\nprint('x')\nos.write(1, b'x')\nassert os.read(0, 1) == b''\n" + GOOD)
    assert [entry.error for entry in catalog.entries()] == [None, None]


def test_the_time_limit_is_for_each_module_by_itself(workspace, layout):
    for number in range(4):
        workspace.module(f"slow_{number}", "import time\ntime.sleep(0.5)\n" + GOOD)
    assert all(entry.spec for entry in Catalog(layout, time_limit=1.5).entries())


BOMB = """
import os, threading
started = threading.Event()
def end():
    started.wait()
    os._exit(9)
threading.Thread(target=end).start()
"""

# By itself it is fine; after the other it sets off what that one left.
SETS_IT_OFF = """
import sys, threading
other = sys.modules.get("flow_modules.a_leaves_a_bomb")
if other:
    other.started.set()
    threading.Event().wait(5)
"""


def test_a_thread_left_behind_does_not_blame_the_next_module(workspace, catalog):
    workspace.module("a_leaves_a_bomb", BOMB + GOOD)
    workspace.module("b_is_fine", SETS_IT_OFF + GOOD)
    assert [entry.error for entry in catalog.entries()] == [None, None]


def test_errors_of_notebooks_name_the_cell(workspace, catalog):
    workspace.file("flow_modules/magic.ipynb").write_text(notebook("x = 1", "y = 1\n%time x"))
    workspace.file("flow_modules/syntax.ipynb").write_text(notebook("x = 1", "", "y = (\n"))
    workspace.file("flow_modules/raises.ipynb").write_text(notebook("def f():\n    1 / 0", "\nf()"))
    workspace.file("flow_modules/no_flow.ipynb").write_text(notebook("x = 1", "def build():\n    pass"))
    workspace.file("flow_modules/broken.ipynb").write_text("{")
    entries = by_name(catalog)
    places = {
        name: (e.error["code"], e.error["file"], e.error.get("cell"), e.error["line"]) for name, e in entries.items()
    }
    assert places == {
        "magic": ("notebook-magic", "flow_modules/magic.ipynb", 2, 2),
        "syntax": ("module-error", "flow_modules/syntax.ipynb", 3, 1),
        "raises": ("module-error", "flow_modules/raises.ipynb", 1, 2),
        "no_flow": ("build-invalid", "flow_modules/no_flow.ipynb", 2, 1),
        "broken": ("notebook-invalid", "flow_modules/broken.ipynb", None, 1),
    }


def test_errors_in_helpers_name_the_helper(workspace, catalog):
    workspace.module("flow_helpers/wrong.py", "x = 1\n1 / 0\n")
    workspace.module("flow_helpers/unparsable.py", "x = (\n")
    workspace.module("a", "\nfrom flow_helpers import wrong\n")
    workspace.module("b", "from flow_helpers.unparsable import x\n")
    workspace.module("c", "from flow_helpers.labels import lable\n")
    workspace.module("flow_helpers/labels.py", "label = 1\n")
    entries = by_name(catalog)
    error = entries["a"].error
    assert (error["file"], error["line"], error["type"]) == (
        "flow_modules/flow_helpers/wrong.py",
        2,
        "ZeroDivisionError",
    )
    assert "1 / 0" in error["traceback"]
    error = entries["b"].error
    assert (error["file"], error["line"]) == ("flow_modules/flow_helpers/unparsable.py", 1)
    error = entries["c"].error
    assert "from 'flow_helpers.labels'" in error["message"]
    assert "label" in error["hint"]


def test_lasting_errors_are_remembered_until_someone_asks(workspace, layout, tmp_path):
    seen = {name: tmp_path / name for name in ("lasting", "passing", "hangs")}
    there = tmp_path / "there"
    workspace.module("lasting", counting(seen["lasting"], "undefined\n"))
    workspace.module("passing", counting(seen["passing"], f"open({str(there)!r})\n" + GOOD))
    wait = f"import os, time\nif not os.path.exists({str(there)!r}): time.sleep(60)\n" + GOOD
    workspace.module("hangs", counting(seen["hangs"], wait))
    catalog = Catalog(layout, time_limit=1.0)
    first = by_name(catalog)
    assert by_name(catalog)["lasting"] == first["lasting"]
    assert {name: times(file) for name, file in seen.items()} == {"lasting": 1, "passing": 2, "hangs": 1}
    there.touch()
    entries = by_name(catalog)
    assert entries["passing"].spec
    assert entries["hangs"].error["code"] == "module-timeout"
    assert catalog.entry("hangs").spec
    assert catalog.entry("hangs").spec
    assert by_name(catalog, again=True)["lasting"] == first["lasting"]
    assert {name: times(file) for name, file in seen.items()} == {"lasting": 2, "passing": 3, "hangs": 2}


def test_a_missing_import_is_looked_for_at_every_look(workspace, catalog, tmp_path, monkeypatch):
    workspace.module("needs", "import delivered_later\n" + GOOD)
    assert catalog.entries()[0].error["code"] == "import-missing"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "delivered_later.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    assert catalog.entries()[0].spec


def test_one_stem_with_two_suffixes_is_an_error_of_that_flow_alone(workspace, catalog):
    workspace.module("twice.py", GOOD)
    workspace.module("twice.ipynb", notebook(GOOD))
    workspace.module("once", GOOD)
    entries = by_name(catalog)
    assert entries["twice"].error["code"] == "flow-duplicate"
    assert "twice.ipynb" in entries["twice"].error["message"]
    assert entries["once"].spec


def test_a_module_that_cannot_be_read_is_an_error_of_that_flow_alone(workspace, catalog):
    (workspace.flow_modules / "gone.py").symlink_to(workspace.root / "nowhere.py")
    workspace.module("once", GOOD)
    if os.geteuid() != 0:
        workspace.module("locked", GOOD).chmod(0)
        assert by_name(catalog)["locked"].error["code"] == "module-unreadable"
    entries = by_name(catalog)
    error = entries["gone"].error
    assert (error["code"], error["file"], entries["gone"].digest) == ("module-unreadable", "flow_modules/gone.py", None)
    assert entries["once"].spec


def test_a_module_named_like_a_library_shadows_nothing(workspace, catalog):
    for name in ("csv", "json", "polars", "flowstead"):
        workspace.module(name, GOOD)
    text = "import csv, json, polars\ncsv.reader, json.loads, polars.DataFrame\n" + GOOD
    workspace.module("uses_them", text)
    assert all(entry.spec for entry in catalog.entries())


def test_a_heavy_library_is_imported_once(workspace, catalog, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "heavy.py").write_text(counting(tmp_path / "seen", ""))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for number in range(10):
        workspace.module(f"m{number}", "import heavy\n" + GOOD)
    assert all(entry.spec for entry in catalog.entries())
    assert times(tmp_path / "seen") == 1


def test_many_modules_are_shared_between_two_processes_and_all_described(workspace, catalog):
    for number in range(60):
        workspace.module(f"m{number:02}", "import os; os._exit(1)\n" if number % 20 == 7 else GOOD)
    entries = catalog.entries()
    assert [entry.name for entry in entries] == [f"m{number:02}" for number in range(60)]
    assert [entry.name for entry in entries if entry.error] == ["m07", "m27", "m47"]


LIST = """
import json, sys
from pathlib import Path
from flowstead.catalog import Catalog
from flowstead.workspace.layout import WorkspaceLayout
layout = WorkspaceLayout.of(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
entries = Catalog(layout, time_limit=60.0).entries()
print(json.dumps([[entry.name, entry.digest, entry.error and entry.error["code"]] for entry in entries]))
"""


def test_several_processes_describe_one_workspace_at_once(workspace, layout, catalog):
    for number in range(25):
        workspace.module(f"m{number:02}", GOOD)
    workspace.module("wrong", "def build(:\n")
    workspace.module("flow_helpers/nested/x.py", "value = 1\n")
    command = [sys.executable, "-c", LIST, str(workspace.root)]
    crowd = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in crowd:
        assert process.stdout.readline() == "ready\n"
    for process in crowd:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [json.loads(process.communicate(timeout=60)[0]) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 4
    assert all(one == told[0] for one in told)
    assert told[0] == [[e.name, e.digest, e.error and e.error["code"]] for e in catalog.entries()]
    names = {path.name for path in layout.versions.iterdir()}
    assert len(names) == 26 + 1
    assert not [name for name in names if name.startswith(".")]


def test_an_interrupted_catalog_leaves_no_process_behind(workspace, layout, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    workspace.module("a_works", GOOD)
    text = f"import threading\nfile = open({str(pipe)!r}, 'w')\nfile.write('x')\nfile.flush()\n"
    workspace.module("hangs", text + "threading.Event().wait()\n")
    command = [sys.executable, "-c", LIST, str(workspace.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"go\n")
        process.stdin.flush()
        loading = threading.Event()
        told = []

        def read():
            with pipe.open() as held:
                assert held.read(1) == "x"
                loading.set()
                told.append(held.read())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert loading.wait(20)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        reader.join(10)
    assert told == [""]
    assert b"KeyboardInterrupt" in errors
    assert not list(layout.versions.glob(".staging-*"))
    assert len(list(layout.versions.iterdir())) == 1


def test_a_damaged_store_is_described_anew(workspace, layout, catalog, tmp_path):
    workspace.module("a", counting(tmp_path / "seen"))
    workspace.module("flow_helpers/x.py", "value = 1\n")
    entry = catalog.entry("a")
    version = read_version(layout, entry.digest)
    (version.folder / "spec.json").write_text('{"plan"')
    assert catalog.entry("a") == entry
    (version.folder / "module.py").unlink()
    assert catalog.entry("a") == entry
    assert (version.folder / "module.py").is_file()
    shutil.rmtree(version.helpers)
    assert catalog.entry("a") == entry
    assert (version.helpers / "x.py").read_text() == "value = 1\n"
    shutil.rmtree(layout.local)
    assert catalog.entry("a") == entry
    assert times(tmp_path / "seen") == 4


def test_what_a_killed_process_left_half_made_is_cleared_away(workspace, layout, catalog):
    layout.prepare()
    old, young = layout.versions / ".staging-1-old", layout.versions / ".staging-2-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (1, 1))
    workspace.module("a", GOOD)
    assert catalog.entry("a").spec
    assert not old.exists()
    assert young.exists()


def test_a_python_that_cannot_describe_is_one_coded_error(workspace, layout, tmp_path):
    workspace.module("a", GOOD)
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    failing.chmod(0o755)
    for python in (str(failing), str(tmp_path / "nowhere")):
        with pytest.raises(FlowsteadError) as caught:
            Catalog(layout, python_for=lambda path, source, python=python: python).entries()
        assert caught.value.code == "describe-failed"
    assert Catalog(layout).entries()[0].spec


def test_a_workspace_that_went_away_is_a_coded_error(workspace, catalog):
    workspace.flow_modules.rmdir()
    with pytest.raises(FlowsteadError) as caught:
        catalog.entries()
    assert caught.value.code == "workspace-not-found"


def test_a_home_that_cannot_be_written_is_a_coded_error(workspace, tmp_path):
    (tmp_path / "file").touch()
    layout = WorkspaceLayout.of(workspace.root, tmp_path / "file")
    assert Catalog(layout).entries() == []
    workspace.module("a", GOOD)
    with pytest.raises(StorageError) as caught:
        Catalog(layout).entries()
    assert caught.value.code == "home-unwritable"
