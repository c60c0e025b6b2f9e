"""A supply of the pool whose environments are a few files, and that fails as it is told."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flowstead.environments.declaration import Progress
from flowstead.model.errors import BuildFailed


class Killed(BaseException):
    """The process was killed in the middle of it."""


@dataclass
class CheapSupply:
    """`broken` names a package that cannot be installed, `base_broken` breaks the template without packages too, and
    `cannot_clone` is raised by clone. `version` is part of what a template holds."""

    folder: Path
    kind: str = "uv"
    target: int = 3
    packages: tuple[str, ...] = ()
    off: str = ""
    version: str = "1"
    broken: str | None = None
    base_broken: bool = False
    cannot_clone: Exception | None = None
    builds: list[str] = field(default_factory=list)
    retried: list[bool] = field(default_factory=list)
    cloning: int = 0
    most_cloning: int = 0
    before_clone: Callable[[], None] = lambda: None
    kills: bool = False
    """The next clone is killed before it is on record."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def digest(self, *, base_only: bool) -> str:
        held = "base" if base_only else "-".join(("full", *self.packages))
        return f"{self.kind}-{held}-{self.version}"

    def build(self, digest: str, *, again: bool, tell: Callable[[Progress], None]) -> None:
        tell(Progress("installing", "Installing."))
        self.builds.append(digest)
        self.retried.append(again)
        if self.broken is not None and (self.base_broken or "-full" in digest):
            raise BuildFailed(f"Because {self.broken} was not found in the package registry, no solution was found.")
        venv = self._template(digest)
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "lib" / "package" / "__pycache__").mkdir(parents=True, exist_ok=True)
        (venv / "lib" / "package" / "module.py").write_text("value = 1\n")
        (venv / "lib" / "package" / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"compiled")
        (venv / "bin" / "tool").write_text("#!python\n")
        if not (venv / "bin" / "python").is_symlink():
            (venv / "bin" / "python").symlink_to("/usr/bin/env")
        (venv / "digest").write_text(digest)

    def template(self, digest: str) -> Path | None:
        venv = self._template(digest)
        return venv if (venv / "digest").exists() else None

    def clone(self, template: Path, target: Path) -> None:
        with self._lock:
            self.cloning += 1
            self.most_cloning = max(self.most_cloning, self.cloning)
        try:
            self.before_clone()
            if self.cannot_clone is not None:
                raise self.cannot_clone
            shutil.copytree(template, target, symlinks=True, copy_function=os.link)
            if self.kills:
                self.kills = False
                raise Killed
        finally:
            with self._lock:
                self.cloning -= 1

    def _template(self, digest: str) -> Path:
        return self.folder / digest / ".venv"
