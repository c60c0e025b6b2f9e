"""What is wrong with a text that is being edited: found in a child process, from a staged copy that does not stay."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

from flowstead.catalog import CatalogEntry
from flowstead.catalog.describing import Job, describe_modules
from flowstead.catalog.versions import HelperTree, read_helpers, staging, write_helpers
from flowstead.daemon.authoring.files import EditableFile
from flowstead.daemon.authoring.notebooks import Cell, cells_of
from flowstead.daemon.checking import warnings
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import EnvironmentPending, FlowsteadError
from flowstead.model.flow import FlowSpec
from flowstead.workspace.trust import require_trust

MOST_FLOWS = 20
MOST_AT_ONCE = 2
_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")
_PROBE = "import flow_helpers.{module}\n"

Diagnostic = dict[str, Any]


class Checks:
    """Checks of one process: few at once, and of one file only the newest that was asked for."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(MOST_AT_ONCE)
        self._lock = threading.Lock()
        self._newest: dict[str, int] = {}
        self._count = 0

    def diagnose(self, host: WorkspaceHost, file: EditableFile, source: bytes | None) -> list[Diagnostic]:
        """What is wrong with `source` as the content of `file`; see `diagnose`.

        Raises FlowsteadError (`check-superseded`) when a newer check of the file was asked for before it began.
        """
        key = f"{file.root}\0{file.path}"
        with self._lock:
            self._count += 1
            mine = self._newest[key] = self._count
        try:
            with self._free:
                if self._newest.get(key) != mine:
                    raise FlowsteadError("A newer text of this file is being checked.", code="check-superseded")
                return diagnose(host, file, source)
        finally:
            with self._lock:
                if self._newest.get(key) == mine:
                    del self._newest[key]


CHECKS = Checks()


def diagnose(host: WorkspaceHost, file: EditableFile, source: bytes | None) -> list[Diagnostic]:
    """`[{file, flow, line, column, cell, severity, code, message, hint}]`; never raises what is wrong with the text.

    A line is of `file`, or in a notebook of its cell (an id). A helper is checked in the flows that mention it; None
    stands for one that was deleted.
    """
    try:
        if file.kind == "config":
            return _toml(file, source or b"")
        require_trust(host.layout)
        return _describe(host, file, source)
    except FlowsteadError as error:
        if error.code == "describe-failed":
            raise
        return [_diagnostic(file.path, file.flow, "warning", error.code, error.message, error.hint)]


def _diagnostic(
    path: str,
    flow: str | None,
    severity: str,
    code: str,
    message: str,
    hint: str = "",
    line: int | None = None,
    column: int | None = None,
    cell: str | None = None,
) -> Diagnostic:
    return {
        "file": path,
        "flow": flow,
        "line": line,
        "column": column,
        "cell": cell,
        "severity": severity,
        "code": code,
        "message": message,
        "hint": hint,
    }


# -- configuration -------------------------------------------------------------------------------------------------


def _toml(file: EditableFile, source: bytes) -> list[Diagnostic]:
    import tomllib

    try:
        tomllib.loads(source.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        return [_diagnostic(file.path, None, "error", "file-not-text", f"Line {line} is not UTF-8.", "", line)]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _PLACE.search(str(error))
        message = _PLACE.sub("", str(error)).rstrip(".")
        line, column = (int(found[1]), int(found[2])) if found and found[1] else (None, None)
        if found and not found[1]:
            line = source.count(b"\n") + (not source.endswith(b"\n"))
        hint = "Write it as TOML: name = value."
        return [_diagnostic(file.path, None, "error", "toml-invalid", f"{message}.", hint, line, column)]
    return []


# -- flows and helpers ---------------------------------------------------------------------------------------------


def _describe(host: WorkspaceHost, file: EditableFile, source: bytes | None) -> list[Diagnostic]:
    layout = host.layout
    helpers = read_helpers(layout.flow_helpers)
    texts: dict[Path, bytes]
    probe: Path | None = None
    more: list[str] = []
    if file.kind == "helper":
        name = file.path.removeprefix("flow_modules/flow_helpers/")
        files = {other: text for other, text in helpers.files.items() if other != name}
        helpers = HelperTree("edited", files if source is None else {**files, name: source})
        texts, more = _mentioning(layout.flow_modules, helpers.files, name)
        if source is not None:
            # A mistake in a helper that no flow imports shows when something does.
            probe = layout.flow_modules / "check_of_a_helper.py"
            module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            texts[probe] = _PROBE.format(module=module).encode()
    else:
        texts = {} if source is None else {layout.flow_modules / file.name: source}
    found: list[Diagnostic] = []
    with staging(layout) as stage:
        shared = None
        if helpers.files:
            shared = stage / "helpers"
            write_helpers(shared, helpers)
        queues: dict[str, list[Job]] = {}
        for number, (path, text) in enumerate(texts.items()):
            flow = None if path == probe else path.stem
            try:
                python = _python(host, path, text)
            except FlowsteadError as error:
                severity = "info" if isinstance(error, EnvironmentPending) else "error"
                where = {"line": error.detail.get("line")} if error.detail.get("file") == file.path else {}
                found.append(_diagnostic(file.path, flow, severity, error.code, error.message, error.hint, **where))
                continue
            folder = stage / f"module-{number}"
            folder.mkdir()
            (folder / f"module{path.suffix.lower()}").write_bytes(text)
            queues.setdefault(python, []).append(Job(folder, shared, path, layout.root))

        def answered(job: Job, answer: dict[str, Any]) -> None:
            text = texts[job.origin]
            if job.origin == probe:
                found.extend(_of_probe(file, answer))
            else:
                found.extend(of_entry(host, _entry(job.origin, answer), text))

        for python, queue in queues.items():
            describe_modules(queue, answered, python=python, time_limit=host.settings.describe_timeout, scratch=stage)
    if more:
        message = f"Only {MOST_FLOWS} of the {MOST_FLOWS + len(more)} flows that mention it were checked."
        found.append(_diagnostic(file.path, None, "info", "check-partial", message, "See the others: flowstead check"))
    return _unique(found)


def _python(host: WorkspaceHost, path: Path, text: bytes) -> str:
    """The interpreter that describes a text. Unlike the catalog's, it has nothing built for what is half typed."""
    found = host.environments.find(path, text)
    if found.python is None:
        raise EnvironmentPending(
            f"What {path.stem} needs is not installed yet, so only saving it checks it.",
            hint="Save it: its environment is then built.",
        )
    return found.python


def _entry(path: Path, answer: dict[str, Any]) -> CatalogEntry:
    plan = answer.get("plan")
    spec = None if plan is None else FlowSpec.from_dict(plan)
    return CatalogEntry(path.stem, path, None, spec, answer.get("error"))


def of_entry(host: WorkspaceHost, entry: CatalogEntry, source: bytes) -> list[Diagnostic]:
    """The error of a flow, or its warnings. `source` is the text that its lines are of."""
    path = entry.path.relative_to(host.layout.root).as_posix()
    error = entry.error
    if error is None:
        return [
            _diagnostic(path, entry.name, "warning", each["code"], each["message"], "", each["line"])
            for each in warnings(entry)
        ]
    where = error.get("file") or path
    cell = None
    if error.get("cell") is not None and where == path:
        cell = _cell_id(source, error["cell"], entry.path.name)
    severity = "info" if entry.status == "pending" else "error"
    message, hint = error["message"], error.get("hint", "")
    return [_diagnostic(where, entry.name, severity, error["code"], message, hint, error.get("line"), None, cell)]


def _cell_id(source: bytes, number: int, name: str) -> str | None:
    """The id of the code cell of that number, counted from 1."""
    try:
        code: list[Cell] = [each for each in cells_of(source, name) if each["kind"] == "code"]
    except FlowsteadError:
        return None
    return code[number - 1]["id"] if 0 < number <= len(code) else None


def _of_probe(file: EditableFile, answer: dict[str, Any]) -> list[Diagnostic]:
    """What importing a helper by itself tells: only what is wrong in the helper's own text."""
    error = answer.get("error") or {}
    if error.get("file") != file.path or error.get("type") not in ("SyntaxError", "IndentationError", "TabError"):
        return []
    hint = "Correct it."
    return [_diagnostic(file.path, None, "error", error["code"], error["message"], hint, error.get("line"))]


def _mentioning(folder: Path, helpers: dict[str, bytes], name: str) -> tuple[dict[Path, bytes], list[str]]:
    """The flows whose text mentions the helper, or one that mentions it, and so on; at most so many, and the rest."""
    wanted = {_leaf(name)}
    grown = True
    while grown:
        grown = False
        for other, text in helpers.items():
            if _leaf(other) not in wanted and _words(text) & wanted:
                wanted.add(_leaf(other))
                grown = True
    found: dict[Path, bytes] = {}
    more: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".py", ".ipynb") or path.name.startswith(("_", ".")):
            continue
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if b"flow_helpers" in text and _words(text) & wanted:
            if len(found) < MOST_FLOWS:
                found[path] = text
            else:
                more.append(path.stem)
    return found, more


def _leaf(name: str) -> str:
    parts = name.removesuffix(".py").split("/")
    return parts[-1] if parts[-1] != "__init__" else parts[-2] if len(parts) > 1 else "flow_helpers"


def _words(text: bytes) -> set[str]:
    lines = re.findall(rb"^.*\b(?:import|flow_helpers)\b.*(?:\([^)]*\))?", text, re.MULTILINE)
    return set(re.findall(r"\w+", b"\n".join(lines).decode("utf-8", "replace")))


def _unique(found: list[Diagnostic]) -> list[Diagnostic]:
    seen: dict[tuple[Any, ...], Diagnostic] = {}
    for each in found:
        key = (each["file"], each["line"], each["code"], each["message"])
        known = seen.get(key)
        if known is None or known["flow"] is None:
            seen[key] = each
    return list(seen.values())
