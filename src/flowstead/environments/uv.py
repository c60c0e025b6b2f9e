"""The provider `uv`: virtual environments, with packages linked from uv's cache and byte-compiled."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from flowstead.environments.declaration import Declaration, Interpreter, Package, Progress, Requirement
from flowstead.environments.environment import installed_packages, python_of
from flowstead.environments.failing import failed
from flowstead.environments.provider import Run, Tell
from flowstead.model.errors import BuildFailed

_NOT_PASSED_ON = """
    VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV PYTHONPATH PYTHONHOME PYTHONSTARTUP
    PYTHONDONTWRITEBYTECODE UV_PYTHON UV_SYSTEM_PYTHON UV_BREAK_SYSTEM_PACKAGES UV_PROJECT
    UV_PROJECT_ENVIRONMENT UV_WORKING_DIR UV_WORKING_DIRECTORY UV_VENV_SEED UV_VENV_CLEAR
    UV_VENV_RELOCATABLE UV_CONSTRAINT UV_OVERRIDE UV_EXCLUDE UV_RESOLUTION UV_PRERELEASE UV_NO_EDITABLE
    UV_NO_CONFIG UV_COMPILE_BYTECODE UV_TORCH_BACKEND
"""
"""Variables that would change what is installed where, past the digest. Indexes, credentials and the cache stay."""

PROJECT = "this-flow"
"""The name of the project that is made of a declaration: uv says it when that project cannot have what it needs."""

_PROGRESS = (
    (re.compile(r"Resolved (\d+) packages?"), "downloading", True),
    (re.compile(r"(?:Downloading|Building|Updating) \S.*"), "downloading", False),
    (re.compile(r"(?:Downloaded|Built|Updated) \S.*"), "downloading", False),
    (re.compile(r"Prepared (\d+) packages?"), "installing", True),
    (re.compile(r"Installed (\d+) packages?"), "compiling", True),
    (re.compile(r"Bytecode compiled (\d+) files?"), "compiling", True),
    (re.compile(r"Audited (\d+) packages?"), "compiling", True),
)
_SAYS_NOTHING = re.compile(
    r"Using Python \S+ environment at: |Using CPython |Creating virtual environment|Activate with"
)
_WITHOUT_VALUE = {"--require-hashes": "--require-hashes", "--pre": "--prerelease=allow"}
_LEFT_OUT = ("--prefer-binary", "--use-feature", "--use-pep517", "--progress-bar", "--disable-pip-version-check")


@cache
def uv_executable() -> str:
    """The path of uv's program. Raises BuildFailed (`installer-missing`)."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        uv_executable.cache_clear()
        raise BuildFailed(
            "uv, which builds environments, is not installed.",
            code="installer-missing",
            hint="Install Flowstead anew, or uv beside it: pip install uv",
        )
    return found


def uv_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that uv is started with."""
    left_out = set(_NOT_PASSED_ON.split())
    kept = {name: value for name, value in variables.items() if name not in left_out}
    kept.setdefault("UV_LINK_MODE", "hardlink")
    return {**kept, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


class UvProvider:
    """`uv venv` and `uv pip install`; see provider.Provider."""

    def install(
        self,
        declaration: Declaration,
        interpreter: Interpreter | None,
        *,
        venv: Path,
        scratch: Path,
        tell: Tell,
        run: Run,
    ) -> None:
        assert interpreter is not None, "a uv environment has an interpreter of this machine"
        tell(Progress("resolving", f"Python {interpreter.version}"))
        options = ["--quiet", "--no-project", "--no-config", "--prompt", "flowstead", "--python", interpreter.path]
        made = run([uv_executable(), "venv", *options, venv], cwd=scratch, env=uv_variables(os.environ))
        if made.returncode != 0:
            raise failed(made.errors, declaration, "uv")
        install_packages(declaration, python_of(venv), scratch=scratch, tell=tell, run=run)

    def packages_of(self, venv: Path) -> list[Package]:
        return installed_packages(venv)

    def python_of(self, venv: Path) -> Path:
        return python_of(venv)


def install_packages(
    declaration: Declaration, python: Path, *, scratch: Path, tell: Tell, run: Run, more: Sequence[str] = ()
) -> None:
    """Installs the requirements into the environment of an interpreter, by `uv pip install` with `more` arguments.

    Raises BuildFailed with uv's own words.
    """
    if declaration.lock is not None and declaration.provider == "uv":
        from flowstead.environments.uv_lock import export_lock, lock_variables

        env = uv_variables(os.environ)
        locked = export_lock(declaration, uv_executable(), scratch=scratch, run=run, env=env)
        _install(declaration, python, ["-r", locked], scratch, tell, run, lock_variables(env))
        # What a kernel needs beside it, the lock file knows nothing of.
        beside = tuple(each for each in declaration.requirements if each.file != declaration.file)
        declaration = replace(declaration, requirements=beside, lock=None)
    # In a folder with a project file of its own: uv looks for settings there, and else in what is above it.
    given = _write_requirements(declaration, scratch, _write_project(declaration, scratch))
    if given:
        _install(declaration, python, [*more, *given], scratch, tell, run, uv_variables(os.environ))


def _install(
    declaration: Declaration,
    python: Path,
    given: Sequence[str | Path],
    scratch: Path,
    tell: Tell,
    run: Run,
    env: dict[str, str],
) -> None:
    lines: list[str] = []
    reader = ProgressReader(tell)

    def on_line(line: str) -> None:
        if not reader.read(line) and not _SAYS_NOTHING.match(line):
            lines.append(line)

    arguments = [uv_executable(), "pip", "install", "--python", python, "--compile-bytecode", *given]
    if run(arguments, cwd=scratch, env=env, on_line=on_line).returncode != 0:
        raise failed("\n".join(lines), declaration, "uv")


class ProgressReader:
    """Understands what uv says on stderr when that is no terminal."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._total: int | None = None
        self._done = 0

    def read(self, line: str) -> bool:
        """Tells what the line means; False when it is nothing that uv says on its way."""
        text = line.strip()
        if text.startswith(("+ ", "- ", "~ ")):
            return True
        for pattern, phase, counts in _PROGRESS:
            found = pattern.match(text)
            if found is None:
                continue
            if text.startswith("Resolved"):
                self._total = int(found.group(1))
            if counts:
                done = None if text.startswith("Resolved") else int(found.group(1))
                total = self._total if phase == "downloading" else done
            else:
                self._done += text.startswith(("Downloaded", "Built"))
                done, total = self._done, self._total
            self._tell(Progress(phase, text, done, total))
            return True
        return False


def _write_project(declaration: Declaration, scratch: Path) -> Path:
    """Writes `pyproject.toml` into the folder that uv runs in: the settings it is to use, and what has sources.

    Without a project file of its own uv would look for settings in the folders above.
    """
    import tomli_w

    project: dict[str, Any] = {"name": PROJECT, "version": "0"}
    if declaration.requires_python:
        project["requires-python"] = declaration.requires_python
    project["dependencies"] = [each.text for each in declaration.requirements if _has_sources(declaration, each)]
    # `managed` is there so that the table is: without one uv would look for settings in the folders above.
    document = {"project": project, "tool": {"uv": {"managed": True, **dict(declaration.tool_uv)}}}
    path = scratch / "pyproject.toml"
    path.write_text(tomli_w.dumps(document), "utf-8")
    return path


def _has_sources(declaration: Declaration, requirement: Requirement) -> bool:
    """Whether it belongs into the project file, where `[tool.uv]` tells where packages come from."""
    return bool(declaration.tool_uv) and not (
        requirement.editable or requirement.text.startswith(("-", "/", ".")) or " --hash" in requirement.text
    )


def _write_requirements(declaration: Declaration, scratch: Path, project: Path) -> list[str | Path]:
    """Writes what is to be installed, and returns the arguments for it; none when nothing is."""
    if not declaration.requirements:
        return []
    flags: list[str | Path] = []
    lines: list[str] = []
    for option in declaration.options:
        if option in _WITHOUT_VALUE:
            flags.append(_WITHOUT_VALUE[option])
        elif option.startswith("--trusted-host"):
            flags += ["--allow-insecure-host", option.removeprefix("--trusted-host").lstrip("= ")]
        elif not option.startswith(_LEFT_OUT):
            lines.append(option)
    lines += [_line(each) for each in declaration.requirements if not _has_sources(declaration, each)]
    given: list[str | Path] = []
    if any(_has_sources(declaration, each) for each in declaration.requirements):
        given += ["-r", project]
    if lines:
        (scratch / "requirements.txt").write_text("\n".join(lines) + "\n", "utf-8")
        given += ["-r", scratch / "requirements.txt"]
    if declaration.constraints:
        text = "\n".join(each.text for each in declaration.constraints)
        (scratch / "constraints.txt").write_text(text + "\n", "utf-8")
        given += ["-c", scratch / "constraints.txt"]
    # The runtime stands for Flowstead, also where a package of the flow's depends on it.
    (scratch / "excludes.txt").write_text("flowstead\n", "utf-8")
    return [*flags, "--excludes", scratch / "excludes.txt", *given]


def _line(requirement: Requirement) -> str:
    return f"-e {requirement.text}" if requirement.editable else requirement.text
