"""Whether an environment is what was asked for, before anybody gets it; and what it takes on the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.environments.declaration import Declaration, Package
from flowstead.model.errors import BuildFailed

if TYPE_CHECKING:
    from flowstead.environments.provider import Provider, Run

_CHECK = """
import importlib, json, platform, sys
if len(sys.argv) > 1:
    import compileall
    if not compileall.compile_dir(sys.argv[1], quiet=1):
        sys.exit("Flowstead's runtime could not be compiled.")
for name in ("flowstead", "flowstead.worker", "flowstead.worker.runs", "flowstead.flow.loading"):
    importlib.import_module(name)
print(json.dumps({"python": platform.python_version(), "prefix": sys.prefix}))
"""


def checked_python(declaration: Declaration, venv: Path, provider: Provider, run: Run, to_compile: list[Path]) -> str:
    """Starts the environment's interpreter, which imports the runtime, and compiles it first where that is not done.

    Returns its version. `to_compile` is empty, or has the folder that the runtime is in. Raises BuildFailed.
    """
    python = provider.python_of(venv)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = run([python, "-I", "-c", _CHECK, *(path / "flowstead" for path in to_compile)], env=variables)
    try:
        if done.returncode != 0:
            raise ValueError(done.errors.strip()[-4000:] or f"It ended with code {done.returncode}.")
        told: dict[str, str] = json.loads(done.output)
        if Path(told["prefix"]).resolve() != venv.resolve():
            raise ValueError(f"It runs in {told['prefix']}, not in {venv}.")
        return told["python"]
    except (ValueError, KeyError) as error:
        raise BuildFailed(
            f"Python does not start in the environment that {declaration.file} asks for.",
            code="environment-broken",
            words=str(error),
            file=declaration.file,
        ) from error


def check_packages(declaration: Declaration, packages: list[Package], python: str) -> None:
    """Whether everything is there that was asked for by name. Raises BuildFailed."""
    if declaration.provider != "uv":
        return
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    there = {canonicalize_name(each.name) for each in packages}
    for each in declaration.requirements:
        try:
            asked = Requirement(each.text.partition(" --hash")[0])
        except InvalidRequirement:
            continue  # a path or an address
        if asked.marker is not None and not asked.marker.evaluate(
            {"python_full_version": python, "python_version": ".".join(python.split(".")[:2]), "extra": ""}
        ):
            continue
        name = canonicalize_name(asked.name)
        if name not in there and name != "flowstead":
            line = {} if each.line is None else {"line": each.line}
            raise BuildFailed(
                f"The installer left out {asked.name}.",
                code="environment-incomplete",
                hint="Bring uv.lock up to date with: uv lock" if declaration.lock else None,
                **{"requirement": each.text, "file": each.file, **line},  # type: ignore[arg-type]
            )


def size_of(folder: Path) -> tuple[int, int]:
    """What a tree takes on the disk, in bytes: all of it, and what of that nothing outside of it is linked to.

    A file with several names in the tree counts once.
    """
    whole = own = 0
    linked: dict[tuple[int, int], list[int]] = {}
    folders = [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                size = found.st_blocks * 512 if hasattr(found, "st_blocks") else found.st_size
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif found.st_nlink > 1:
                    linked.setdefault((found.st_dev, found.st_ino), [found.st_nlink, 0, size])[1] += 1
                    continue
                whole += size
                own += size
    for names, here, size in linked.values():
        whole += size
        own += size if names == here else 0
    return whole, own
