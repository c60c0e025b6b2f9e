"""What the cache hands out: an environment that is wanted, and one that is there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from flowstead.environments.declaration import Declaration, Interpreter, Package

VENV = ".venv"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A declaration, the interpreter that was found for it (conda brings its own), and the digest of the two."""

    digest: str
    declaration: Declaration
    interpreter: Interpreter | None


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is ready: `folder` is its root, where `pyvenv.cfg` or `conda-meta` is."""

    digest: str
    id: str
    folder: Path
    python: Path
    packages: tuple[Package, ...]

    @property
    def site_packages(self) -> Path:
        return site_packages_of(self.folder)


def venv_of(folder: Path, digest: str, environment: str) -> Path:
    """Where an environment lies below the folder of environments."""
    return folder / digest / environment / VENV


def python_of(venv: Path) -> Path:
    """The interpreter of a virtual environment, or of a conda one."""
    if sys.platform != "win32":
        return venv / "bin" / "python"
    inner = venv / "Scripts" / "python.exe"
    return inner if inner.exists() else venv / "python.exe"


def site_packages_of(venv: Path) -> Path:
    """Where an environment's packages are. Raises FileNotFoundError when it has no such folder."""
    if sys.platform == "win32":
        return venv / "Lib" / "site-packages"
    for found in sorted((venv / "lib").glob("python3*/site-packages")):
        return found
    raise FileNotFoundError(2, "No site-packages", str(venv))


def installed_packages(venv: Path) -> list[Package]:
    """The packages of an environment by name, as their metadata folders say; Flowstead's runtime is one of them."""
    found: dict[str, Package] = {}
    for folder in site_packages_of(venv).glob("*.dist-info"):
        name = version = ""
        try:
            with (folder / "METADATA").open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    key, _, value = line.partition(":")
                    if key == "Name":
                        name = value.strip()
                    elif key == "Version":
                        version = value.strip()
                    if not line.strip() or (name and version):
                        break
        except OSError:
            continue
        if name:
            found[name.lower()] = Package(name, version)
    return [found[key] for key in sorted(found)]
