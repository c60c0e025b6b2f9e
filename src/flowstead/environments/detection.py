"""Finds out which file says what a flow needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from flowstead.environments.declaration import Considered, Decision, Declaration
from flowstead.environments.manifest import Trace

_SAYS_NOTHING = "has no script block"
_NOT_THERE = "is not there"
_FILES = ("pyproject.toml", "requirements.txt", "environment.yml", "environment.yaml", "pixi.toml")
_MOST_KEPT = 512

Result = tuple[Declaration | None, str]

_kept: dict[tuple[str, ...], tuple[Trace, Result]] = {}
_nothing: dict[str, Decision] = {}


def detect(source: bytes, suffix: str, module: str, workspace: Path, module_dir: Path) -> Decision:
    """Which file says what a flow needs: its own script block, or the first file of its workspace that does.

    `source` is the content of the module, `suffix` `.py` or `.ipynb`, `module` its path relative to the workspace, and
    `module_dir` the folder that its paths are relative to. What was read is read again at each call, and understood
    again where it changed. Raises ManifestInvalid for what cannot be understood, and EnvironmentUnusable when a conda
    manifest decides and conda is not there.
    """
    considered: list[Considered] = []
    declaration = _of_module(source, suffix, module, module_dir, considered)
    if declaration is not None:
        return Decision(declaration, tuple(considered))
    there = [name for name in _FILES if _is_file(f"{workspace}{os.sep}{name}")]
    if not there and len(considered) == 1 and considered[0].verdict == _SAYS_NOTHING:
        return _decision_of_nothing(module)
    declaration = _of_workspace(workspace, there, considered)
    return Decision(declaration, tuple(considered))


def _of_module(
    source: bytes, suffix: str, module: str, folder: Path, considered: list[Considered]
) -> Declaration | None:
    # Most modules have no block, and need not load what reads one.
    if suffix == ".py" and b"///" not in source:
        considered.append(Considered(module, _SAYS_NOTHING))
        return None
    from flowstead.environments.script_block import find_block, read_block

    block = find_block(source, suffix, module)
    if block is None:
        considered.append(Considered(module, _SAYS_NOTHING))
        return None
    notebook = suffix == ".ipynb"
    declaration, verdict = _remembered(
        ("block", str(folder), module, str(block.above), block.text),
        lambda trace: read_block(block, module, folder, trace, notebook=notebook),
    )
    considered.append(Considered(module, verdict))
    return declaration


def _of_workspace(workspace: Path, there: list[str], considered: list[Considered]) -> Declaration | None:
    from flowstead.environments.project_file import LEFT_TO_PIXI

    from_pixi = False
    for name in _FILES:
        if name not in there:
            considered.append(Considered(name, _NOT_THERE))
            continue
        declaration, verdict = _read(name, workspace)
        considered.append(Considered(name, verdict))
        if declaration is not None:
            return declaration
        from_pixi = from_pixi or verdict == LEFT_TO_PIXI
    if from_pixi:
        declaration, verdict = _conda("pixi", workspace / "pyproject.toml", workspace)
        considered.append(Considered("pyproject.toml", verdict))
        return declaration
    return None


def _read(name: str, workspace: Path) -> Result:
    path = workspace / name
    if name == "pyproject.toml":
        from flowstead.environments.project_file import read_project

        return _remembered(("project", str(workspace)), lambda trace: read_project(workspace, workspace, trace))
    if name == "requirements.txt":
        return _remembered(("requirements", str(workspace)), lambda trace: _requirements(path, workspace, trace))
    return _conda("pixi" if name == "pixi.toml" else "environment", path, workspace)


def _requirements(path: Path, workspace: Path, trace: Trace) -> Result:
    from flowstead.environments.manifest import OURSELVES
    from flowstead.environments.project_file import counted
    from flowstead.environments.requirements_file import read_requirements

    found = read_requirements(path, workspace, trace)
    listed = counted(len(found.requirements))
    declaration = Declaration(
        "uv",
        path.name,
        f"{path.name} of the workspace lists {listed}.",
        requirements=tuple(found.requirements),
        constraints=tuple(found.constraints),
        options=tuple(found.options),
        local=found.local,
    )
    verdict = f"decides, with {listed}"
    return declaration, f"{verdict}; {OURSELVES} itself is left out, as it is in each environment" if (
        found.ourselves
    ) else verdict


def _conda(kind: str, path: Path, workspace: Path) -> Result:
    from flowstead.environments.conda_manifest import read_environment_yml, read_pixi

    read = read_pixi if kind == "pixi" else read_environment_yml
    return _remembered(
        (kind, str(path)), lambda trace: (read(path, workspace, trace), "decides, with packages of conda")
    )


def _remembered(key: tuple[str, ...], read: Callable[[Trace], Result]) -> Result:
    """What `read` came to, as long as all that it looked at is the same."""
    kept = _kept.get(key)
    if kept is not None and kept[0].holds():
        return kept[1]
    trace = Trace()
    result = read(trace)
    if len(_kept) >= _MOST_KEPT:
        _kept.clear()
    _kept[key] = trace, result
    return result


def _decision_of_nothing(module: str) -> Decision:
    decision = _nothing.get(module)
    if decision is None:
        files = [Considered(name, _NOT_THERE) for name in _FILES]
        decision = Decision(None, (Considered(module, _SAYS_NOTHING), *files))
        if len(_nothing) >= _MOST_KEPT:
            _nothing.clear()
        _nothing[module] = decision
    return decision


def _is_file(path: str) -> bool:
    # Asked first because most are not there: an exception takes longer than all the rest.
    if not os.access(path, os.F_OK):
        return False
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False
