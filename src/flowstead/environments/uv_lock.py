"""A `uv.lock` beside a pyproject.toml: exactly those versions and files are installed, and nothing is resolved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flowstead.environments.declaration import Declaration
from flowstead.environments.provider import Run
from flowstead.model.errors import BuildFailed


def export_lock(declaration: Declaration, uv: str, *, scratch: Path, run: Run, env: dict[str, str]) -> Path:
    """Has uv write what the lock file holds for this environment as `pylock.toml` in `scratch`; returns its path.

    The lock file's local paths are absolute. Raises BuildFailed (`lock-invalid`) when uv cannot read it, or when it
    does not know the project's extras or groups.
    """
    import tomllib

    import tomli_w

    assert declaration.lock is not None
    folder = scratch / "locked"
    folder.mkdir()
    try:
        root = _root(tomllib.loads(declaration.lock))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(declaration, f"It cannot be read: {error}.") from error
    extras, groups = root.get("optional-dependencies", {}), root.get("dev-dependencies", {})
    chosen: list[str] = []
    for name in declaration.groups:
        if name not in extras and name not in groups:
            raise _invalid(declaration, f"It knows no extra or group {name!r}.")
        chosen += ["--extra", name] if name in extras else []
        chosen += ["--group", name] if name in groups else []
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
    (folder / "uv.lock").write_text(declaration.lock, "utf-8")
    options = ["--frozen", "--quiet", "--no-emit-project", "--no-default-groups", "--format", "pylock.toml"]
    done = run([uv, "export", *options, *chosen], cwd=folder, env=env)
    if done.returncode != 0:
        raise _invalid(declaration, done.errors.strip()[-4000:])
    locked = tomllib.loads(done.output.decode())
    # The runtime stands for Flowstead itself.
    locked["packages"] = [each for each in locked.get("packages", []) if each["name"] != "flowstead"]
    path = folder / "pylock.toml"
    path.write_text(tomli_w.dumps(locked), "utf-8")
    return path


def lock_variables(variables: dict[str, str]) -> dict[str, str]:
    """The variables with which uv takes such a file without saying that it is new to it."""
    features = [each for each in variables.get("UV_PREVIEW_FEATURES", "").split(",") if each]
    return {**variables, "UV_PREVIEW_FEATURES": ",".join([*features, "pylock"])}


def _root(lock: dict[str, Any]) -> dict[str, Any]:
    """The package of the lock file that is the project itself."""
    packages: list[dict[str, Any]] = lock["package"]
    own = [each for each in packages if each["source"].get("virtual") == "." or each["source"].get("editable") == "."]
    if own:
        return own[0]
    needed = {needs["name"] for each in packages for needs in each.get("dependencies", [])}
    for each in packages:
        local = "virtual" in each["source"] or "editable" in each["source"]
        if local and each["name"] not in needed:
            return each
    raise KeyError("no package of it is the project itself")


def _invalid(declaration: Declaration, words: str) -> BuildFailed:
    return BuildFailed(
        f"The uv.lock beside {declaration.file} cannot be used.",
        code="lock-invalid",
        hint="Bring it up to date with: uv lock",
        file=os.path.join(os.path.dirname(declaration.file), "uv.lock"),
        words=words,
    )
