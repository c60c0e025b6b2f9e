"""The console's files: one page for every address that is none of the API, and what that page loads.

They are built from `web/` into `console/` beside this module; where they are not there, the page says how to make them.
"""

from __future__ import annotations

import mimetypes
import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from flowstead.daemon.security import HEADERS

FOLDER = Path(__file__).with_name("console")
NONCE = "__NONCE__"
"""Stands in the page for a word that is another one each time: only styles that bring it are taken."""

MISSING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Flowstead</title>
<h1>Flowstead</h1>
<p>The console is not built. With Node.js 20.19 or later, in the checkout:</p>
<pre>npm ci --prefix web
npm run build --prefix web</pre>
<p>The command line needs none of it. The API is described in <a href="/api/v1/openapi.json">openapi.json</a>.</p>
"""
_FOR_EVER = "private, max-age=31536000, immutable"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml"}


def is_built() -> bool:
    return (FOLDER / "index.html").is_file()


def page() -> Response:
    """The page; its styles and scripts are its own, and it asks nobody but this server."""
    nonce = secrets.token_urlsafe(16)
    policy = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
        f"style-src 'self' 'nonce-{nonce}'; worker-src 'self'; frame-src 'self' blob:; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    text = (FOLDER / "index.html").read_text("utf-8") if is_built() else MISSING
    headers = {**HEADERS, "content-security-policy": policy, "x-frame-options": "DENY"}
    return Response(text.replace(NONCE, nonce), media_type="text/html; charset=utf-8", headers=headers)


def asset(request: Request) -> Response:
    """A file that the page loads. Its name tells its content, so that browsers keep it."""
    name = request.path_params["name"]
    path = FOLDER / "assets" / name
    # A name is one part of a path: nothing outside the folder has one.
    if "/" in name or name.startswith(".") or not path.is_file():
        return Response("There is no such file.", 404, media_type="text/plain; charset=utf-8")
    kind = _KINDS.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    # Read right here: a page asks for many small files at once, and each hop to a thread and back takes longer.
    return Response(path.read_bytes(), media_type=kind, headers={"cache-control": _FOR_EVER})
