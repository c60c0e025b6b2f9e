"""Builds the web console into the package, where Node.js is there to do it; without, everything else works as it does.

`FLOWSTEAD_CONSOLE=required` makes a missing console an error, for wheels that others install; `skip` leaves it as it
is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = (20, 19)
SOURCES = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "src/**/*")


class ConsoleBuildHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        source, target = root / "web", root / "src" / "flowstead" / "daemon" / "console"
        wanted = os.environ.get("FLOWSTEAD_CONSOLE", "")
        if wanted == "skip" or not source.is_dir() or _is_current(source, target):
            return
        problem = _why_not() or _build(source, target)
        if problem is None:
            return
        if wanted == "required":
            raise RuntimeError(f"The console could not be built: {problem}")
        self.app.display_warning(f"The web console is left out: {problem} The command line works without it.")


def _why_not() -> str | None:
    """What keeps it from being built on this machine; None when nothing does."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "it is built with Node.js 20.19 or later, which is not here."
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    try:
        found = tuple(int(part) for part in told.removeprefix("v").split(".")[:2])
    except ValueError:
        found = ()
    return None if found >= OLDEST_NODE else f"it is built with Node.js 20.19 or later; this is {told or 'none'}."


def _build(source: Path, target: Path) -> str | None:
    """Installs what `web/` needs and builds it; what went wrong, or None."""
    for arguments in (["ci"], ["run", "build"]):
        npm = shutil.which("npm") or "npm"
        done = subprocess.run([npm, *arguments], cwd=source, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"npm {' '.join(arguments)} failed. {(done.stderr or done.stdout).strip()[-600:]}"
    (target / "built-from").write_text(_digest(source), "utf-8")
    return None


def _is_current(source: Path, target: Path) -> bool:
    try:
        return (target / "built-from").read_text("utf-8") == _digest(source)
    except OSError:
        return False


def _digest(source: Path) -> str:
    total = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(each for each in source.glob(pattern) if each.is_file()):
            total.update(f"{path.relative_to(source).as_posix()}\n".encode())
            total.update(path.read_bytes())
    return total.hexdigest()
