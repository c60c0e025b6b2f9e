"""Which files of a conda environment know where it is, and how they are told another place."""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Placed:
    """What conda put at a path. `placeholder` is how long the path was that the package was built with.

    0: the file does not know where it is, and can be shared; None: a script that was made for this environment.
    """

    placeholder: int | None
    binary: bool = False


def placed_files(prefix: Path) -> dict[str, Placed]:
    """All that conda put into an environment, by absolute path; nothing where there is no conda environment.

    Raises OSError when the record cannot be read.
    """
    root = os.fspath(prefix.absolute())
    found: dict[str, Placed] = {}
    for path in (prefix / "conda-meta").glob("*.json"):
        try:
            entries: list[dict[str, Any]] = json.loads(path.read_bytes())["paths_data"]["paths"]
            for entry in entries:
                made = "entry_point" in entry.get("path_type", "")
                length = None if made else len(os.fsencode(entry.get("prefix_placeholder") or ""))
                found[f"{root}{os.sep}{entry['_path'].replace('/', os.sep)}"] = Placed(
                    length, entry.get("file_mode") == "binary"
                )
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(
                errno.EIO, f"The record of what conda installed cannot be read ({error})", str(path)
            ) from error
    return found


def with_prefix(content: bytes, old: bytes, new: bytes, placed: Placed) -> bytes:
    """A file's content for an environment at `new` instead of `old`.

    Strings of a binary keep their place: they end in zeros that fill the room of the path the package was built with.
    Raises OSError when there is less room than `new` needs.
    """
    if not placed.binary:
        return content.replace(old, new)
    out = bytearray()
    at = 0
    while (found := content.find(old, at)) >= 0:
        end = content.find(b"\0", found)
        end = len(content) if end < 0 else end
        times = content.count(old, found, end)
        grown = times * (len(new) - len(old))
        # Only the zeros that stand for the longer path are room; those after them mean something.
        if grown > times * ((placed.placeholder or 0) - len(old)):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.fsdecode(new))
        out += content[at:found] + content[found:end].replace(old, new) + b"\0" * max(0, -grown)
        at = end + max(0, grown)
    return bytes(out + content[at:])


def sign(path: str) -> None:
    """Signs a program again that was changed, where macOS runs no other. Raises OSError."""
    if sys.platform != "darwin":
        return
    import subprocess

    with open(path, "rb") as file:
        if file.read(4) not in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
            return
    done = subprocess.run(["/usr/bin/codesign", "--force", "--sign", "-", path], capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(errno.EIO, f"It cannot be signed: {done.stderr.decode(errors='replace')}", path)
