"""The house's order: which package may import which, read from the source itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "flowstead"
# Flow modules that the demo copies into a workspace: users' code, not part of the house.
AUTHORED = SOURCE / "demo" / "workspace"

FOUNDATION = {"model", "ledger", "catalog", "environments", "workspace"}
ALLOWED = {
    "flow": set(),
    "worker": {"flow"},
    "helpers": {"flow"},
    "model": set(),
    "ledger": {"model"},
    "catalog": {"flow", "model"},
    "environments": {"flow", "model"},
    "workspace": {"model"},
    "engine": {"flow", "worker", *FOUNDATION},
    "daemon": {"flow", "worker", *FOUNDATION, "engine", "client", "demo"},
    "client": {"model"},
    "demo": {"model", "workspace"},
    "cli": {"client", "model", "workspace", "demo", "daemon", "jupyter"},  # of daemon one module: the embedded mode
    "tui": {"client", "model"},
    "desktop": {"client", "model"},
    "jupyter": {"client", "model"},
    "__init__": {"flow"},
    "__main__": {"cli"},
    "version": set(),
}
STANDARD_LIBRARY_ONLY = ("flow", "worker", "__init__")
# What these files may import beyond the standard library, and why it is no dependency of theirs.
EXCEPTIONS = {
    "flow/artifacts.py": (
        {"polars", "pandas", "pyarrow", "duckdb", "matplotlib", "altair", "plotly"},
        "only to write an object that the flow itself made with that library",
    ),
    "worker/checkpoints.py": (
        {"polars", "pandas", "pyarrow", "duckdb"},
        "only to store a frame that the flow itself made with that library, and to load it again",
    ),
    "flow/slots.py": ({"cronsim"}, "only for a flow with a cron expression; says what to install where it is missing"),
}
REFUSED_NAMES = {"helper", "helpers", "service", "services", "support", "manager", "utils", "util", "controller"}


class Import(NamedTuple):
    file: str
    line: int
    name: str

    @property
    def package(self) -> str:
        return self.file.partition("/")[0].removesuffix(".py")

    @property
    def target(self) -> str | None:
        """The package of ours that is imported; None for anything else."""
        top, _, rest = self.name.partition(".")
        return (rest.partition(".")[0] or "__init__") if top == "flowstead" else None


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Every import in `source`, also inside functions; those for type checkers alone are left out."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = ["flowstead", *Path(file).parts][: -node.level]
                module = ".".join([*above, *([module] if module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, f"{module}.{alias.name}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            for name in node.args[:1]:
                if isinstance(name, ast.Constant):
                    yield Import(file, node.lineno, str(name.value))


def violations(found: Iterator[Import]) -> list[str]:
    wrong = []
    for each in found:
        where = f"{each.file}:{each.line} imports {each.name}"
        if each.target is None:
            library = each.name.partition(".")[0]
            allowed, _reason = EXCEPTIONS.get(each.file, (set(), ""))
            if each.package in STANDARD_LIBRARY_ONLY and library not in sys.stdlib_module_names | allowed:
                wrong.append(f"{where}: {each.package} has the standard library only")
        elif each.target in (each.package, "version"):
            continue
        elif each.target == "__init__":
            if each.name not in ("flowstead", "flowstead.__version__"):
                wrong.append(f"{where}: the package's own code imports from where the name is defined")
        elif each.target not in ALLOWED[each.package]:
            wrong.append(f"{where}: {each.package} may import {sorted(ALLOWED[each.package]) or 'none of ours'}")
    return wrong


def house() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        if not path.is_relative_to(AUTHORED):
            yield path.relative_to(SOURCE).as_posix(), path


def all_imports() -> Iterator[Import]:
    for file, path in house():
        yield from imports_of(path.read_text(encoding="utf-8"), file)


def test_every_package_is_in_the_table() -> None:
    assert {file.partition("/")[0].removesuffix(".py") for file, _ in house()} <= ALLOWED.keys()


def test_imports_follow_the_table() -> None:
    assert violations(all_imports()) == []


def test_the_command_line_takes_only_the_embedded_mode_from_the_daemon() -> None:
    names = {each.name for each in all_imports() if each.package == "cli" and each.target == "daemon"}
    assert {name.rpartition(".")[0] for name in names} == {"flowstead.daemon.embedded"}


def test_no_import_cycle_between_packages() -> None:
    edges = {name: ALLOWED[name] for name in ALLOWED}
    while free := [name for name, needs in edges.items() if not needs & edges.keys()]:
        for name in free:
            del edges[name]
    assert not edges


def test_exceptions_are_still_needed() -> None:
    for file, (libraries, _reason) in EXCEPTIONS.items():
        if (SOURCE / file).exists():
            found = {each.name.partition(".")[0] for each in imports_of((SOURCE / file).read_text(), file)}
            assert libraries & found, f"{file} imports none of {sorted(libraries)}: take it off the list"


def test_no_module_is_named_for_nothing() -> None:
    named = {
        file
        for file, _ in house()
        for part in Path(file).with_suffix("").parts
        if REFUSED_NAMES & set(part.split("_")) and not (part == "helpers" and file.startswith("helpers/"))
    }
    assert named == set()


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("flow/context.py", "import polars"),
        ("flow/context.py", "def f():\n    from numpy.linalg import norm"),
        ("flow/context.py", "from flowstead.model.run import Run"),
        ("flow/context.py", "from ..model import run"),
        ("worker/main.py", "import orjson"),
        ("worker/main.py", "import flowstead.engine.core as core"),
        ("client/local.py", "from flowstead import ledger"),
        ("client/local.py", "import importlib\nimportlib.import_module('flowstead.daemon')"),
        ("cli/main.py", "from flowstead.engine.core import Engine"),
        ("ledger/store.py", "from flowstead.workspace import layout"),
        ("ledger/store.py", "from flowstead import Flow"),
    ],
)
def test_a_breach_is_seen(file: str, source: str) -> None:
    assert violations(imports_of(source, file))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("flow/context.py", "import json\nfrom flowstead.flow.batch import Batch\nfrom . import paths"),
        ("flow/context.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import polars"),
        ("flow/artifacts.py", "def f():\n    import polars"),
        ("cli/main.py", "def f():\n    from flowstead.daemon import embedded"),
        ("engine/core.py", "import orjson\nfrom flowstead.ledger.ledger import Ledger"),
    ],
)
def test_what_is_allowed_passes(file: str, source: str) -> None:
    assert violations(imports_of(source, file)) == []
