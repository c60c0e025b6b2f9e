"""The digest covers exactly what gets installed: what else a manifest says does not change it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstead.environments.declaration import Declaration, Interpreter, Requirement
from flowstead.environments.detection import detect
from flowstead.environments.digest import digest_of
from flowstead.environments.interpreters import find_interpreter
from flowstead.environments.runtime import runtime_digest
from wheels import make_project, make_wheel

HERE = Interpreter(Path("/usr/bin/python3"), "3.11.7", "cpython-3.11.7-linux-x86_64-gnu")


def digest(workspace: Path, source: bytes = b"") -> str:
    declaration = detect(source, ".py", "flow_modules/x.py", workspace, workspace / "flow_modules").declaration
    assert declaration is not None
    return digest_of(declaration, find_interpreter(declaration.requires_python))


def test_a_digest_is_of_what_is_installed_and_into_what() -> None:
    declaration = Declaration("uv", "requirements.txt", "why", requirements=(Requirement("alpha", "x", 1),))
    first = digest_of(declaration, HERE)
    assert len(first) == 32 and int(first, 16) and digest_of(declaration, HERE) == first
    # Found by another path, said by another file, at another line: the same.
    assert digest_of(declaration, replace(HERE, path=Path("/opt/python"))) == first
    moved = replace(declaration, file="y", why="else", requirements=(Requirement("alpha", "y", 2),))
    assert digest_of(moved, HERE) == first
    others = [
        digest_of(declaration, replace(HERE, version="3.11.8", key="cpython-3.11.8-linux-x86_64-gnu")),
        digest_of(declaration, replace(HERE, key="cpython-3.11.7-linux-x86_64-musl")),
        digest_of(declaration, None),
    ]
    changed: list[dict[str, Any]] = [
        {"provider": "conda"},
        {"requires_python": ">=3.11"},
        {"requirements": (Requirement("alpha==1", "x", 1),)},
        {"requirements": (Requirement("alpha", "x", 1, editable=True),)},
        {"requirements": ()},
        {"constraints": (Requirement("beta<2", "x", 1),)},
        {"options": ("--pre",)},
        {"tool_uv": {"no-index": True}},
        {"lock": "version = 1"},
        {"groups": ("flows",)},
        {"local": {"/near": "1"}},
        {"channels": ("conda-forge",)},
        {"platforms": ("linux-64",)},
        {"pip": (Requirement("alpha", "x", 1),)},
    ]
    others += [digest_of(replace(declaration, **each), HERE) for each in changed]
    assert len({first, *others}) == len(others) + 1


def test_the_runtime_and_the_version_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowstead.environments import digest as module

    def of_another() -> Declaration:
        return Declaration("uv", "x", "why")  # each its own object: what is known is known of one

    found = {digest_of(of_another(), HERE)}
    monkeypatch.setattr(module, "__version__", "0.0.1")
    found.add(digest_of(of_another(), HERE))
    monkeypatch.setattr(module, "runtime_digest", lambda: runtime_digest()[::-1])
    found.add(digest_of(of_another(), HERE))
    assert len(found) == 3


LINES = ["alpha==1", "beta[x]>=1,<2", "gamma; python_version > '3'", "delta~=1.0"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=False))
def test_order_comments_and_blanks_do_not_count(tmp_path: Path, chance: random.Random) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("\n".join(LINES))
    expected = digest(tmp_path)
    lines = chance.sample(LINES, len(LINES))
    spaced = [
        line.replace(",", chance.choice([",", " , "])).replace(";", chance.choice([";", " ; "])) for line in lines
    ]
    noise = [chance.choice(["", "  # why", "\n# comment\n", "\n\n", "  "]) for _ in lines]
    end = chance.choice(["\n", "\r\n"])
    path.write_bytes(end.join(line + more for line, more in zip(spaced, noise, strict=True)).encode())
    assert digest(tmp_path) == expected
    path.write_text("\n".join(lines[1:]))
    assert digest(tmp_path) != expected


def test_whatever_file_asks_for_the_same_the_version_and_hashes_count(tmp_path: Path) -> None:
    seen: set[str] = set()
    for text in ("alpha==1", "alpha==2", "alpha==1 --hash=sha256:00", "alpha==1 --hash=sha256:01", "alpha==1\n--pre\n"):
        (tmp_path / "requirements.txt").write_text(text)
        seen.add(digest(tmp_path))
    assert len(seen) == 5


def test_a_script_block_counts_but_not_the_code_around_it(tmp_path: Path) -> None:
    block = b"# /// script\n# dependencies = ['alpha']\n# ///\n"
    expected = digest(tmp_path, block)
    assert digest(tmp_path, b"import x\n\n" + block + b"y = 1\n") == expected
    assert digest(tmp_path, block.replace(b"['alpha']", b"[ 'alpha', ] # more")) == expected
    assert digest(tmp_path, block.replace(b"alpha", b"alpha<2")) != expected


def test_of_local_packages_what_is_installed_counts(tmp_path: Path) -> None:
    """Code of an editable package never rebuilds; its dependencies do, and all of any other package."""
    near = make_project(tmp_path / "near", "near")
    (tmp_path / "requirements.txt").write_text("-e ./near\n")
    expected = digest(tmp_path)
    (near / "near.py").write_text("VERSION = 'edited'\n")
    assert digest(tmp_path) == expected
    text = (near / "pyproject.toml").read_text()
    (near / "pyproject.toml").write_text(text.replace("dependencies = []", "dependencies = ['alpha']"))
    assert digest(tmp_path) != expected
    (near / "pyproject.toml").write_text(text)
    assert digest(tmp_path) == expected
    wheel = make_wheel(tmp_path, "far")
    (tmp_path / "requirements.txt").write_text(f"./near\n./{wheel.name}\n")
    expected = digest(tmp_path)
    (near / "near.py").write_text("VERSION = 'edited again'\n")
    changed = digest(tmp_path)
    assert changed != expected
    make_wheel(tmp_path, "far", files={"far.py": "other = 1\n"})
    assert digest(tmp_path) != changed
