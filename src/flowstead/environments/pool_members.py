"""A member of the pool on disk: what it holds, whether that is still so, and its end.

A member is a folder `<kind>-<id>` with its environment in `.venv`; beside it, `<kind>-<id>.listing` says what was in it
when it was made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowstead.model.errors import PoolRefused

VENV = ".venv"
_NAME = re.compile(r"([a-z]+)-([0-9a-f]{12})", re.ASCII)
_COMPILED = re.compile(r"(.+?)\.[\w-]+(?:\.opt-\w+)?\.pyc(?:\.\d+)?", re.ASCII)

Listing = dict[str, list[Any]]
"""What is below a folder: by its path, `[mode, size, mtime, target]`, with the target of a link; a folder has its mode
alone, for making a file in it changes the rest."""


def new_id() -> str:
    return os.urandom(6).hex()


def id_of(path: str, folder: Path) -> str:
    """The id of the member whose environment is at `path`, spelled as it was given out. Touches no file.

    Raises PoolRefused (`pool-foreign`) for anything else.
    """
    given = Path(path)
    named = _NAME.fullmatch(given.parent.name)
    if given.name != VENV or named is None or given.parent.parent != folder or path.rstrip(os.sep) != str(given):
        raise foreign(path, "No environment of the pool has this path")
    return named[2]


def foreign(path: str, why: str) -> PoolRefused:
    return PoolRefused(
        f"{why}: {path}.",
        code="pool-foreign",
        hint="Return what take has given, spelled the same. See: flowstead pool status",
        path=path,
    )


def is_plain(venv: Path) -> bool:
    """Whether an environment is a folder in a folder, and neither of them a link."""
    try:
        return all(stat.S_ISDIR(os.lstat(each).st_mode) for each in (venv.parent, venv))
    except OSError:
        return False


# -- what it holds ---------------------------------------------------------------------------------------------------


def write_listing(folder: Path) -> None:
    """Keeps what is in the member at `folder`. Raises OSError."""
    text = json.dumps(listing_of(folder), separators=(",", ":")).encode()
    part = _listing_path(folder).with_suffix(".part")
    part.write_bytes(zlib.compress(text, 1))
    os.replace(part, _listing_path(folder))


def read_listing(folder: Path) -> Listing | None:
    """What was in the member when it was made; None when that is not known."""
    try:
        return json.loads(zlib.decompress(_listing_path(folder).read_bytes()))
    except (OSError, ValueError, zlib.error):
        return None


def listing_of(folder: Path) -> Listing:
    """What is in a folder now. Raises OSError."""
    return dict(_entries(str(folder), ""))


def _entries(folder: str, below: str) -> Iterator[tuple[str, list[Any]]]:
    with os.scandir(folder) as found:
        for entry in found:
            name = below + entry.name
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode):
                yield name, [about.st_mode]
                yield from _entries(entry.path, f"{name}/")
            else:
                target = os.readlink(entry.path) if stat.S_ISLNK(about.st_mode) else None
                yield name, [about.st_mode, about.st_size, about.st_mtime_ns, target]


def difference(folder: Path) -> tuple[str | None, list[str]]:
    """What has changed in a member since it was made, in words, or None; and what Python has compiled in it since.

    A compiled file is no change as long as its source is there and as it was.
    """
    was = read_listing(folder)
    if was is None:
        return "what was in it is not known", []
    try:
        now = listing_of(folder)
    except OSError as error:
        return f"it cannot be read ({error.strerror})", []
    compiled: list[str] = []
    for path in sorted(was.keys() | now.keys()):
        if path not in now:
            return f"{path} is missing", []
        if path in was:
            if was[path] != now[path]:
                return f"{path} has changed", []
        elif _is_compiled(path, now, was):
            compiled.append(path)
        else:
            return f"{path} is new", []
    return None, compiled


def _is_compiled(path: str, now: Listing, was: Listing) -> bool:
    """Whether a new entry is the compiled form of a source of before, or a new folder of such."""
    above, _, name = path.rpartition("/")
    if name == "__pycache__":
        return stat.S_ISDIR(now[path][0]) and above in was
    package, _, cache = above.rpartition("/")
    named = _COMPILED.fullmatch(name)
    return (
        cache == "__pycache__"
        and named is not None
        and stat.S_ISREG(now[path][0])
        and f"{package}/{named[1]}.py" in was
    )


def drop_compiled(folder: Path, compiled: list[str]) -> None:
    """Removes what was compiled in a member since it was made; the next holder gets what the first one got."""
    for path in reversed(compiled):
        if path.endswith("__pycache__"):
            (folder / path).rmdir()
        else:
            (folder / path).unlink()


def is_whole(folder: Path) -> bool:
    """Whether a member is as it was made."""
    return is_plain(folder / VENV) and difference(folder) == (None, [])


# -- its end ---------------------------------------------------------------------------------------------------------


def delete(folder: Path) -> bool:
    """Deletes a member, without following a link; whether nothing of it is left."""
    try:
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        _listing_path(folder).unlink(missing_ok=True)
        _listing_path(folder).with_suffix(".part").unlink(missing_ok=True)
    except OSError:
        return False
    return True


def delete_others(folder: Path, names: set[str]) -> None:
    """Deletes what is in the pool's folder and of none of the members of these names."""
    try:
        found = [each for each in folder.iterdir() if each.name.partition(".")[0] not in names]
    except OSError:
        return
    for each in found:
        if _NAME.fullmatch(each.name.partition(".")[0]):
            delete(folder / each.name.partition(".")[0])


def _listing_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.listing")
