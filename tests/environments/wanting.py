"""What tests want of the cache: declarations made by hand, for the interpreter that runs the tests."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from pathlib import Path

import psutil

from flowstead.environments.child_process import MARK
from flowstead.environments.declaration import Declaration, Interpreter, Requirement
from flowstead.environments.environment import Wanted


def interpreter() -> Interpreter:
    """The interpreter that runs the tests, without its virtual environment."""
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return Interpreter(Path(base), platform.python_version(), "of-the-tests")


def wanted(*requirements: str, wheels: Path, editable: tuple[Path, ...] = ()) -> Wanted:
    """What a requirements.txt of these lines asks for, from a folder of wheels and nowhere else."""
    lines = [Requirement(text, "requirements.txt", line) for line, text in enumerate(requirements, 1)]
    lines += [Requirement(str(path), "requirements.txt", 99, editable=True) for path in editable]
    declaration = Declaration(
        "uv",
        "requirements.txt",
        "requirements.txt is beside the flow.",
        requirements=tuple(lines),
        options=("--no-index", f"--find-links {wheels}"),
    )
    text = json.dumps(declaration.content(), sort_keys=True)
    return Wanted(hashlib.sha256(text.encode()).hexdigest()[:32], declaration, interpreter())


def marked() -> list[int]:
    """The processes of builds of this test run that are alive; they have its cache of uv in common."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            own = variables.get("UV_CACHE_DIR") == os.environ["UV_CACHE_DIR"]
            if own and MARK in variables and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
