"""An answer that is a file: what goes out as bytes, not as JSON."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from flowstead.daemon.files.opening import Place, open_file
from flowstead.model.home import home

SECONDS_KEPT = 3600
_DOCUMENT = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; form-action 'none'; "
    "frame-ancestors 'self'"
)
_PDF = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'"


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """A file to send: always read it through `open`, and call `sent` when nothing more of it is needed.

    `media_type` and `headers` go out with it. A `temporary` file is removed by `sent`.
    """

    place: Place
    media_type: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    temporary: bool = False

    @property
    def path(self) -> Path:
        return Path(self.place.path)

    def open(self) -> BinaryIO:
        """The file, opened anew without following links; its size is that of the descriptor. Raises as open_file."""
        return os.fdopen(open_file(self.place), "rb")

    def sent(self) -> None:
        if self.temporary:
            self.path.unlink(missing_ok=True)


def exports_folder() -> Path:
    """Where temporary files wait until they are sent; those that never were to their end are removed here."""
    folder = home() / "exports"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in folder.iterdir():
        try:
            if time.time() - entry.stat().st_mtime > SECONDS_KEPT:
                entry.unlink()
        except OSError:
            continue
    return folder


def headers_for(name: str, media_type: str, *, attached: bool) -> dict[str, str]:
    """Headers that keep a file of unknown origin from doing anything in a browser but being looked at."""
    from urllib.parse import quote

    way = "attachment" if attached else "inline"
    plain = "".join(each if (each.isascii() and each.isalnum()) or each in "._- " else "_" for each in name)
    encoded = quote(name.encode("utf-8", "replace"))
    headers = {
        "Content-Disposition": f"{way}; filename=\"{plain}\"; filename*=UTF-8''{encoded}",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
        "X-Frame-Options": "SAMEORIGIN",  # the console shows it in a frame
    }
    # Browsers refuse to show a sandboxed PDF.
    headers["Content-Security-Policy"] = _PDF if media_type == "application/pdf" else _DOCUMENT
    return headers
