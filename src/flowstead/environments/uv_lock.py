"""A lock file of uv beside a project or a script: exactly what it says is installed, and nothing is resolved."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from flowstead.environments.declaration import Declaration
from flowstead.environments.provider import Run
from flowstead.model.errors import BuildFailed


def export_lock(declaration: Declaration, uv: str, *, scratch: Path, run: Run, env: dict[str, str]) -> Path:
    """Has uv write what the lock file holds for this environment as `pylock.toml` in `scratch`; returns its path.

    The lock file is a project's or a script's, its local paths absolute. Raises BuildFailed (`lock-invalid`) when uv
    cannot read it.
    """
    import tomllib

    import tomli_w

    assert declaration.lock is not None
    folder = scratch / "locked"
    folder.mkdir()
    try:
        lock = tomllib.loads(declaration.lock)
        root = _root(lock)
        if root is not None:
            of = _write_project(root, declaration, folder)
        elif "requirements" in lock["manifest"]:
            of = _write_script(declaration, folder)
        else:
            raise KeyError("no package of it is the project itself")
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(declaration, f"It cannot be read: {error}.") from error
    done = run([uv, "export", "--frozen", "--quiet", "--format", "pylock.toml", *of], cwd=folder, env=env)
    if done.returncode != 0:
        raise _invalid(declaration, done.errors.strip()[-4000:])
    locked = tomllib.loads(done.output.decode())
    # The runtime stands for Flowstead itself.
    locked["packages"] = [each for each in locked.get("packages", []) if each["name"] != "flowstead"]
    path = folder / "pylock.toml"
    path.write_text(tomli_w.dumps(locked), "utf-8")
    return path


def _write_project(root: dict[str, Any], declaration: Declaration, folder: Path) -> list[str]:
    """Writes a project of that name beside its lock file; returns uv's arguments for what is taken of it."""
    import tomli_w

    extras, groups = root.get("optional-dependencies", {}), root.get("dev-dependencies", {})
    chosen = {_canonical(each) for each in declaration.groups}
    project: dict[str, Any] = {
        "project": {
            "name": root["name"],
            "version": "0",
            "dependencies": [],
            "optional-dependencies": {name: [] for name in extras},
        },
        "dependency-groups": {name: [] for name in groups},
        "tool": {"uv": {"managed": True, "package": False, **dict(declaration.tool_uv)}},
    }
    if declaration.requires_python:
        project["project"]["requires-python"] = declaration.requires_python
    (folder / "pyproject.toml").write_text(tomli_w.dumps(project), "utf-8")
    (folder / "uv.lock").write_text(declaration.lock or "", "utf-8")
    arguments = ["--no-emit-project", "--no-default-groups"]
    # What is in neither has no packages: empty groups are in no lock file.
    for name in extras:
        arguments += ["--extra", name] if _canonical(name) in chosen else []
    for name in groups:
        arguments += ["--group", name] if _canonical(name) in chosen else []
    return arguments


def _write_script(declaration: Declaration, folder: Path) -> list[str]:
    """Writes a script beside its lock file; returns uv's arguments for it."""
    import tomli_w

    block: dict[str, Any] = {"dependencies": [], "tool": {"uv": dict(declaration.tool_uv)}}
    if declaration.requires_python:
        block["requires-python"] = declaration.requires_python
    lines = ["# /// script", *(f"# {line}".rstrip() for line in tomli_w.dumps(block).splitlines()), "# ///"]
    (folder / "flow.py").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "flow.py.lock").write_text(declaration.lock or "", "utf-8")
    # So that uv looks for no settings above.
    (folder / "uv.toml").write_text("", "utf-8")
    return ["--script", "flow.py"]


def lock_variables(variables: dict[str, str]) -> dict[str, str]:
    """The variables with which uv takes such a file without saying that it is new to it."""
    features = [each for each in variables.get("UV_PREVIEW_FEATURES", "").split(",") if each]
    return {**variables, "UV_PREVIEW_FEATURES": ",".join([*features, "pylock"])}


def _root(lock: dict[str, Any]) -> dict[str, Any] | None:
    """The package of a lock file that is the project itself; a script's has none."""
    for each in lock.get("package", []):
        if "." in (each["source"].get("virtual"), each["source"].get("editable"), each["source"].get("directory")):
            return each
    return None


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _invalid(declaration: Declaration, words: str) -> BuildFailed:
    script = not declaration.file.endswith(".toml")
    file = f"{declaration.file}.lock" if script else os.path.join(os.path.dirname(declaration.file), "uv.lock")
    return BuildFailed(
        f"The lock file beside {declaration.file} cannot be used.",
        code="lock-invalid",
        hint=f"Bring {file} up to date with: uv lock{' --script ' + declaration.file if script else ''}",
        file=file,
        words=words,
    )
