"""The provider `conda`: packages solved and linked by rattler, then what pip installs on top, then byte-compiled.

rattler runs in a child process (conda_process.py), so that a build ends at its time limit and no daemon imports it. Its
package cache is rattler's own, which other conda tools of this person share: packages are linked from there, and hold
space once however many environments have them.

The pool and clones: an environment is copied by cloning.clone, with links for all but the files that know where they
are, which conda_prefix.py finds and writes anew, in binaries too. That needs no solver, no rattler and no second
byte-compilation, so the pool makes its members as clones of one template, for conda as for uv.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowstead.environments.conda_channels import PYTHONS, require_rattler, this_platform
from flowstead.environments.declaration import Declaration, Interpreter, Package, Progress, Requirement
from flowstead.environments.environment import installed_packages, python_of, site_packages_of
from flowstead.environments.failing import failed, name_of
from flowstead.environments.manifest import canonical
from flowstead.environments.provider import Finished, Run, Tell
from flowstead.model.errors import BuildFailed

_NOT_PASSED_ON = frozenset(("PYTHONHOME", "PYTHONSTARTUP", "PYTHONPATH", "CONDA_PREFIX", "VIRTUAL_ENV"))

_PACKAGE = re.compile(r"failed to \w+ (\S+)-[^-\s]+-[^-\s]+\.(?:conda|tar\.bz2)\b")


class CondaProvider:
    """rattler's solver and installer; see provider.Provider."""

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
        require_rattler(declaration.file)
        answer = _solve_and_link(declaration, venv, scratch, tell, run)
        if not python_of(venv).exists():
            raise BuildFailed(
                f"The packages that {declaration.file} asks for brought no Python.",
                hint=f"Name python in {declaration.file}, then start the flow again.",
                file=declaration.file,
            )
        locked = answer.get("pip")
        if locked is not None or declaration.pip:
            _install_by_pip(declaration, locked, venv, scratch, tell, run)
        tell(Progress("compiling", "Compiling Python files"))
        # Files that no Python of this version can read are in some packages, and no reason to fail.
        run(
            [python_of(venv), "-I", "-m", "compileall", "-q", "-j", str(os.cpu_count() or 1), _site_packages(venv)],
            cwd=scratch,
            env=_variables(),
        )

    def packages_of(self, venv: Path) -> list[Package]:
        """conda's packages by the files in conda-meta, which have `name-version-build` as their name, and pip's."""
        found = {each.name.lower(): each for each in installed_packages(venv)}
        for path in (venv / "conda-meta").glob("*.json"):
            name, version, _ = path.stem.rsplit("-", 2)
            found[name.lower()] = Package(name, version)
        return [found[name] for name in sorted(found)]

    def python_of(self, venv: Path) -> Path:
        return python_of(venv)


def _solve_and_link(declaration: Declaration, venv: Path, scratch: Path, tell: Tell, run: Run) -> dict[str, Any]:
    """Has the packages put into the environment by the child process; returns its last words."""
    # What is there besides for a kernel is in no lock file; it has no place in the manifest.
    more = [each.text for each in declaration.requirements if each.file != declaration.file and declaration.lock]
    specs = [each for each in declaration.requirements if each.text not in more]
    if not any(_package_of(each) == "python" for each in specs):
        specs.append(Requirement(PYTHONS, declaration.file))
    job: dict[str, Any] = {
        "prefix": str(venv),
        "channels": list(declaration.channels),
        "specs": [each.text for each in specs],
        "more": more,
        "constraints": [PYTHONS],
        "platform": this_platform(),
    }
    if declaration.lock is not None:
        path = scratch / "pixi.lock"
        path.write_text(declaration.lock, "utf-8")
        job |= {"lock": str(path), "environment": declaration.groups[0] if declaration.groups else "default"}
    last: dict[str, Any] = {}

    def on_output(line: str) -> None:
        nonlocal last
        try:
            said = json.loads(line)
        except ValueError:
            return
        if "phase" in said:
            tell(Progress(said["phase"], said["message"], said["done"], said["total"]))
        else:
            last = said

    tell(Progress("resolving", "Starting the solver"))
    finished = run(
        [sys.executable, "-P", "-m", "flowstead.environments.conda_process"],
        cwd=scratch,
        stdin=json.dumps(job).encode(),
        on_output=on_output,
    )
    if "installed" in last:
        return last
    raise _failure(last, finished, specs, declaration)


def _failure(
    last: dict[str, Any], finished: Finished, specs: Sequence[Requirement], declaration: Declaration
) -> BuildFailed:
    """What the child process ended with, as an error with the line that asked for what could not be had."""
    words = last.get("words") or finished.errors or f"It ended with {finished.returncode}."
    at = last.get("index")
    culprit = specs[at] if at is not None else None
    if last.get("failed") == "install" and (package := _PACKAGE.search(words)):
        culprit = next((each for each in specs if _package_of(each) == package.group(1)), None)
    detail: dict[str, Any] = {"words": words[-4000:], "installer": "conda"}
    if culprit is not None:
        detail |= {"requirement": culprit.text, "file": culprit.file}
        if culprit.line is not None:
            detail["line"] = culprit.line
    if last.get("failed") == "spec" and culprit is not None:
        return BuildFailed(
            f"{culprit.text!r} in {culprit.file} is no package specification: {words}.",
            hint="Write it like: numpy >=1,<2",
            **detail,
        )
    if last.get("failed") == "lock":
        return _lock_outdated(words, declaration, culprit)
    error = failed(words, declaration, "conda")
    error.detail |= detail
    if f"the constraint {PYTHONS} cannot be fulfilled" in words:
        error.hint = f"Flows run in {PYTHONS.replace('python', 'Python')}: ask for one of these in {declaration.file}."
    return error


def _install_by_pip(
    declaration: Declaration,
    locked: list[dict[str, Any]] | None,
    venv: Path,
    scratch: Path,
    tell: Tell,
    run: Run,
) -> None:
    """Installs what is declared for pip on top of conda's packages, or exactly what a lock file has of it."""
    from flowstead.environments.uv import install_packages

    if locked is not None:
        _check_lock(locked, declaration)
    asked = declaration.pip if locked is None else tuple(_locked_requirement(each, declaration) for each in locked)
    if not asked:
        return
    own = replace(declaration, requirements=asked, pip=(), lock=None, groups=(), requires_python=None)
    more = ["--break-system-packages"] if locked is None else ["--break-system-packages", "--no-deps"]
    install_packages(own, python_of(venv), scratch=scratch, tell=tell, run=run, more=more)


def _check_lock(locked: list[dict[str, Any]], declaration: Declaration) -> None:
    """Raises BuildFailed (`lock-outdated`) when something is asked of pip that a lock file does not have."""
    from packaging.requirements import InvalidRequirement, Requirement

    versions = {canonical(each["name"]): str(each["version"]) for each in locked}
    for asks in declaration.pip:
        try:
            asked = Requirement(asks.text)
        except InvalidRequirement:
            continue  # a path, which has no version
        version = versions.get(canonical(asked.name))
        needed = asked.marker is None or asked.marker.evaluate()
        if needed and (version is None or not asked.specifier.contains(version, prereleases=True)):
            raise _lock_outdated(f"It does not have {asked.name}{asked.specifier}.", declaration, asks)


def _lock_outdated(words: str, declaration: Declaration, culprit: Requirement | None) -> BuildFailed:
    detail: dict[str, Any] = {"file": declaration.file, "words": words[-4000:], "installer": "conda"}
    if culprit is not None:
        detail |= {"requirement": culprit.text, "file": culprit.file}
        if culprit.line is not None:
            detail["line"] = culprit.line
    return BuildFailed(
        f"The lock file beside {declaration.file} does not do: {words}",
        code="lock-outdated",
        hint="Bring it up to date with: pixi lock",
        **detail,
    )


def _locked_requirement(locked: dict[str, Any], declaration: Declaration) -> Requirement:
    """A package of a lock file as a requirement, at the place of the line that asks for it, where one does."""
    location = str(locked["location"])
    asks = next((each for each in declaration.pip if _is_of(each, canonical(locked["name"]), location)), None)
    place = (asks.file, asks.line) if asks is not None else ("pixi.lock", None)
    if Path(location).is_absolute():
        location = Path(location).as_uri()
    if asks is not None and (asks.editable or "://" not in location):
        return asks
    if "://" not in location:
        raise _lock_outdated(f"Only itself knows where {location} is, which no requirement names.", declaration, None)
    pinned = f"#sha256={locked['sha256']}" if locked["sha256"] and "#" not in location else ""
    return Requirement(f"{locked['name']} @ {location}{pinned}", *place)


def _site_packages(venv: Path) -> Path:
    """Where an environment's packages are; made where there is Python alone."""
    for library in (venv / "lib").glob("python3*"):
        (library / "site-packages").mkdir(exist_ok=True)
    return site_packages_of(venv)


def _is_of(requirement: Requirement, name: str, location: str) -> bool:
    """Whether a requirement asks for the locked package of that name, or for what lies at that location."""
    from flowstead.environments.local_packages import local_name

    asked = name_of(requirement)
    if asked is not None:
        return canonical(asked) == name
    path = Path(requirement.text.partition("[")[0])
    return local_name(str(path)) == name or ("://" not in location and path.name == Path(location).name)


def _package_of(requirement: Requirement) -> str | None:
    name = name_of(requirement)
    return name.lower() if name else None


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
