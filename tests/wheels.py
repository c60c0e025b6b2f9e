"""Wheels and source distributions that tests make: real files that installers take, without any network."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    files: dict[str, str] | None = None,
    scripts: dict[str, str] | None = None,
) -> Path:
    """Writes a wheel into `folder`; its module, `name` with underscores, has `VERSION`, unless `files` has others.

    `scripts` are console entry points: name to `module:function`.
    """
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    contents = dict(files) if files is not None else {f"{module}/__init__.py": f"VERSION = {version!r}\n"}
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    contents[f"{info}/METADATA"] = "\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires)]) + "\n"
    contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if scripts:
        entries = "\n".join(f"{script} = {target}" for script, target in scripts.items())
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}\n"
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


def make_sdist(folder: Path, name: str, version: str = "1.0", *, building: str = "raise SystemExit('no')") -> Path:
    """Writes a source distribution with a build backend of its own; building it executes `building` first."""
    root = f"{name.replace('-', '_')}-{version}"
    backend = f"import os, sys, time\ndef _go():\n    {building}\n" + "".join(
        f"def {hook}(*args, **kwargs):\n    _go()\n" for hook in ("build_wheel", "prepare_metadata_for_build_wheel")
    )
    contents = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "backend.py": backend,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{root}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in contents.items():
            member = tarfile.TarInfo(f"{root}/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def make_project(folder: Path, name: str, version: str = "1.0", *, dependencies: tuple[str, ...] = ()) -> Path:
    """Writes a local package with a build backend in itself, which makes wheels and editable wheels; no network."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    listed = ", ".join(f'"{each}"' for each in dependencies)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = [{listed}]\n',
        "utf-8",
    )
    (folder / f"{module}.py").write_text(f"VERSION = {version!r}\n", "utf-8")
    requires = "".join(f"Requires-Dist: {each}\\n" for each in dependencies)
    (folder / "backend.py").write_text(_BACKEND.format(name=name, module=module, version=version, requires=requires))
    return folder


_BACKEND = """
import pathlib, zipfile
HERE = pathlib.Path(__file__).parent
INFO = "{module}-{version}.dist-info"

def _wheel(folder, contents):
    name = "{module}-{version}-py3-none-any.whl"
    contents = {{
        **contents,
        INFO + "/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{requires}",
        INFO + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    contents[INFO + "/RECORD"] = "".join(path + ",,\\n" for path in [*contents, INFO + "/RECORD"])
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {{"{module}.py": (HERE / "{module}.py").read_text()}})

def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {{"{module}.pth": str(HERE)}})
"""


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
