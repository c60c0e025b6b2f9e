"""The child process that describes flow modules: `python -P -m flowstead.worker.describe`.

Each line on stdin is one job, `{"folder", "helpers", "origin", "stem", "root", "limit"}`; each is answered by one
line on what was stdout, `{"plan": ...}` or `{"error": ...}`, after a first line `{"ready": true}`. The modules see
an empty stdin, and what they print goes nowhere. What was stderr takes the stack of a module that crashes or that
is not done after `limit` seconds, at which the process ends itself.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

from flowstead.flow.describe import describe
from flowstead.flow.errors import FlowDefinitionError
from flowstead.flow.failures import describe_failure
from flowstead.flow.loading import ModuleLoadError, build_flow, load_module


def main() -> None:
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    diary = os.dup(2)
    nothing = os.open(os.devnull, os.O_RDWR)
    _silence(nothing)
    faulthandler.enable(file=diary)
    _answer(answers, {"ready": True})
    path, environment = list(sys.path), dict(os.environ)
    for line in jobs:
        job = json.loads(line)
        os.chdir(Path(job["origin"]).parent)
        faulthandler.dump_traceback_later(job["limit"], exit=True, file=diary)
        answer = _describe(job)
        faulthandler.cancel_dump_traceback_later()
        _answer(answers, answer)
        # What one module changes for the whole process must not reach the next.
        _silence(nothing)
        sys.path[:] = path
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
    # Threads that a module left behind would hold the process.
    os._exit(0)


def _describe(job: dict[str, Any]) -> dict[str, Any]:
    origin, stem, root = Path(job["origin"]), job["stem"], Path(job["root"])
    helpers = Path(job["helpers"]) if job["helpers"] else None
    try:
        source = Path(job["folder"], f"module{origin.suffix.lower()}").read_bytes()
        module = load_module(source, origin=origin, stem=stem, helpers_dir=helpers)
        flow = build_flow(module, stem=stem, module_dir=origin.parent, workspace_root=root)
        plan = describe(flow)
        description = getattr(module, "DESCRIPTION", None)
        plan["description"] = None if description is None else str(description)
        # Encoded here, where what cannot be encoded is still the error of this module.
        return {"plan": json.loads(json.dumps(plan))}
    except BaseException as error:
        return {"error": explain(error, origin, root)}


def explain(error: BaseException, origin: Path, root: Path) -> dict[str, Any]:
    """`{code, type, message, file, line, cell?, hint, traceback}` of a module at `origin` that cannot be described."""
    found = describe_failure(error, root, code="import-missing" if isinstance(error, ImportError) else "module-error")
    found["file"] = found["file"] or origin.relative_to(root).as_posix()
    if isinstance(error, ModuleLoadError):
        found |= {"file": origin.relative_to(root).as_posix(), "line": error.line, "source": None, "traceback": ""}
        if error.cell is not None:
            found["cell"] = error.cell
    elif isinstance(error, FlowDefinitionError):
        found["code"] = "definition-invalid"
    if isinstance(error, SystemExit):
        found["code"] = "module-exited"
        found["message"] = f"The module ends its process (SystemExit: {error.code}) while it is loaded."
    elif isinstance(error, SyntaxError):
        found["message"] = error.msg
    found["hint"] = found["hint"] or f"Correct it, then see the result with: flowstead check {origin.stem}"
    return found


def _silence(nothing: int) -> None:
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _answer(answers: Any, frame: dict[str, Any]) -> None:
    answers.write(json.dumps(frame).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
