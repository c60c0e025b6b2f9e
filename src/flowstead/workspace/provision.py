"""Makes a workspace's folders, editor settings and a first flow. Only ever adds: what exists stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flowstead.model.errors import StorageError

EXAMPLE_FLOW = '''\
"""A first flow: three steps that need no data file. Try: flowstead run first_flow"""

from flowstead import Flow, FlowContext

DESCRIPTION = "Square a few numbers and add them up."


def build() -> Flow:
    return (
        Flow("Examples")
        .ask("count", int, label="How many numbers", default=10)
        .step(make_numbers, save_as="numbers")
        .map(square, use="numbers", save_as="squares")
        .step(add_up, use="squares")
    )


def make_numbers(context: FlowContext) -> list[int]:
    return list(range(1, context.params["count"] + 1))


def square(number: int) -> int:
    return number * number


def add_up(context: FlowContext) -> int:
    total = sum(context.current)
    context.summary = f"The first {len(context.current)} squares add up to {total:,}"
    return total
'''


def provision(root: Path) -> list[Path]:
    """Make `root` a workspace, and its parent folder a collection root; return the paths that were created.

    Adds `flow_modules/` (with `flow_helpers/`), `config/`, `databases/` and VS Code settings at both levels, and
    one example flow when `flow_modules/` holds no module yet. Files that exist are never touched.

    Raises StorageError when a folder cannot be made or a file is in its place.
    """
    root = root.expanduser().absolute()
    created: list[Path] = []
    try:
        flow_modules = root / "flow_modules"
        for folder in (root, flow_modules, flow_modules / "flow_helpers", root / "config", root / "databases"):
            if not folder.is_dir():
                folder.mkdir(parents=True)
                created.append(folder)
        files = {root / ".vscode" / "settings.json": _settings_text(workspace_settings(root))}
        # A workspace right below the home folder or a drive's root makes neither of them a collection.
        if root.parent not in (Path.home(), Path(root.anchor)):
            files[root.parent / ".vscode" / "settings.json"] = _settings_text(collection_settings(root.parent))
        if not any(path.suffix in (".py", ".ipynb") for path in flow_modules.iterdir()):
            files[flow_modules / "first_flow.py"] = EXAMPLE_FLOW
        for path, text in files.items():
            if write_new(path, text.encode()):
                created.append(path)
    except OSError as error:
        raise StorageError(
            f"Cannot make a workspace at {root}: {error.strerror or error} ({error.filename}).",
            code="workspace-unwritable",
            hint="Name a folder you can write to.",
            path=str(root),
        ) from error
    return created


def write_new(path: Path, content: bytes) -> bool:
    """Create the file `path` (and its parent folders) with `content`, whole or not at all.

    Returns False, and leaves the file alone, when it exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return False
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        try:
            # Unlike a rename, a link never replaces a file that appeared since the check.
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True


def workspace_settings(root: Path) -> dict[str, Any]:
    """VS Code settings for a window opened at the workspace `root`."""
    return {
        **_common_settings(root, source_folders=["flow_modules"]),
        **_terminal_variables(FLOWSTEAD_WORKSPACE="${workspaceFolder}"),
    }


def collection_settings(root: Path) -> dict[str, Any]:
    """VS Code settings for a window opened at the collection root.

    The terminal names the collection, not a workspace: there `flowstead` takes the one around the current folder.
    """
    return {
        **_common_settings(root, source_folders=[]),
        **_terminal_variables(FLOWSTEAD_COLLECTION="${workspaceFolder}"),
    }


def _common_settings(root: Path, source_folders: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "python.defaultInterpreterPath": "${workspaceFolder}/.venv",
        "files.exclude": {"**/.workspace_state": True},
        "search.exclude": {"**/.workspace_state": True},
    }
    if (root / "src").is_dir():
        source_folders = ["src", *source_folders]
    if source_folders:
        settings["python.analysis.extraPaths"] = source_folders
    if (root / "tests").is_dir():
        settings["python.testing.pytestEnabled"] = True
        settings["python.testing.pytestArgs"] = ["tests"]
    return settings


def _terminal_variables(**variables: str) -> dict[str, Any]:
    return {f"terminal.integrated.env.{platform}": variables for platform in ("linux", "osx", "windows")}


def _settings_text(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=2) + "\n"
