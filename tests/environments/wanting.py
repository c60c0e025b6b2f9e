"""What tests want of the cache: declarations made by hand, for the interpreter that runs the tests."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from pathlib import Path

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
