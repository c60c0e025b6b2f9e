"""The locks on the door: who may ask this process anything, and from where.

A connection over the Unix socket comes from this very user, which is checked when it is made (see server.py). One
over TCP may come from anybody on this computer, and from any web page that this user has open, so each request
must name this server as its host, come from no foreign page, and bring the token or the session cookie.

The cookie is made from a launch token, which works once and for a minute: it may be seen in a browser's history or
in a list of processes. The cookie itself is signed, so it outlives a restart of the daemon; its name tells homes
apart, because browsers send cookies of one host to all of its ports.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from flowstead.daemon.failures import Refused
from flowstead.model.errors import HomeUnwritable

SECONDS_TO_LAUNCH = 60.0
SECONDS_OF_SESSION = 30 * 86400
MOST_LAUNCH_TOKENS = 64
SAFE_METHODS = ("GET", "HEAD")
OWN_PAGES = ("same-origin", "none")
"""Values of Sec-Fetch-Site: a page of this server, or the address bar. Another port of this computer is foreign."""

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What goes out with every answer that does not say otherwise itself."""


def token_of(home: Path) -> str:
    """The token of this machine's API, in `token` of the home; made at the first use. Raises HomeUnwritable."""
    path = home / "token"
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Race: of several that make it at once, one puts it in place, whole, and all use that one.
        made = home / f"token.{secrets.token_hex(8)}"
        if not path.exists():
            fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_urlsafe(32))
            try:
                os.link(made, path)
            except FileExistsError:
                pass
            finally:
                made.unlink()
        if os.name == "posix" and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HomeUnwritable(f"Cannot make or read {path}: {error}.") from error
    if len(token) < 32:
        raise HomeUnwritable(f"{path} holds no token.", hint="Delete it; a new one is made.")
    return token


class Security:
    """Knows the token and what was made from it; `allow` says for which port browsers may ask."""

    def __init__(self, token: str) -> None:
        self._token = _digest(token)
        self._key = hmac.digest(token.encode(), b"session", "sha256")
        self.cookie_name = f"flowstead-{hmac.digest(token.encode(), b'name', 'sha256').hex()[:12]}"
        self._launch_tokens: dict[bytes, float] = {}
        self.hosts: frozenset[str] = frozenset()

    def allow(self, port: int) -> None:
        """Answers requests to this port of the loopback interface, under its own names alone."""
        self.hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))

    # -- launching a browser -----------------------------------------------------------------------------------

    def new_launch_token(self) -> str:
        """A token that opens one browser session, once, within a minute. Only its hash is kept."""
        now = time.monotonic()
        waiting = {digest: until for digest, until in self._launch_tokens.items() if until > now}
        while len(waiting) >= MOST_LAUNCH_TOKENS:
            del waiting[next(iter(waiting))]
        token = secrets.token_urlsafe(32)
        self._launch_tokens = {**waiting, _digest(token): now + SECONDS_TO_LAUNCH}
        return token

    def redeem(self, token: str) -> str:
        """A session's cookie for a launch token. Raises Refused when the token is unknown, used or too old."""
        given, now = _digest(token), time.monotonic()
        for digest, until in list(self._launch_tokens.items()):
            if hmac.compare_digest(digest, given):
                del self._launch_tokens[digest]
                if until > now:
                    return self._session(int(time.time()) + SECONDS_OF_SESSION)
        raise Refused(
            401, "launch-token-invalid", "This link was used already, or is too old.", "Open a new one the same way."
        )

    def _session(self, expires: int) -> str:
        return f"{expires}.{self._signature(str(expires))}"

    def _signature(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "replace"), "sha256").hex()

    # -- the door ----------------------------------------------------------------------------------------------

    def check(self, scope: dict[str, Any]) -> None:
        """Lets an ASGI request or WebSocket over TCP through, or raises Refused."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = _values(headers, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            raise Refused(
                403,
                "host-refused",
                "This server does not answer under that name.",
                "Use http://127.0.0.1 and its port.",
            )
        # Whatever it asks for and brings along, a page from elsewhere gets nothing.
        origins = _values(headers, b"origin")
        sites = _values(headers, b"sec-fetch-site")
        foreign = any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins)
        if foreign or any(site.lower() not in OWN_PAGES for site in sites):
            raise Refused(403, "origin-refused", "This request comes from a foreign page.", "Open the page itself.")
        if _is_launch(scope):
            return  # its own token is looked at there
        if self._has_token(headers):
            return
        if not self._has_session(headers):
            raise Refused(
                401,
                "unauthorized",
                "This request brings neither the token nor a session.",
                "Send the token as: Authorization: Bearer TOKEN. It is in the file `token` of the Flowstead home.",
            )
        # With a cookie it is a browser that asks, and those send an Origin with each WebSocket and unsafe method.
        unsafe = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if unsafe and not (origins or sites):
            raise Refused(
                403, "origin-missing", "This request does not say which page it comes from.", "Use the token instead."
            )

    def _has_token(self, headers: list[tuple[bytes, bytes]]) -> bool:
        for value in _values(headers, b"authorization"):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer" and hmac.compare_digest(_digest(token.strip()), self._token):
                return True
        return False

    def _has_session(self, headers: list[tuple[bytes, bytes]]) -> bool:
        for value in _cookies(headers, self.cookie_name):
            expires, _, signature = value.partition(".")
            valid = hmac.compare_digest(self._signature(expires), signature.encode("ascii", "replace").decode())
            if valid and expires.isdecimal() and int(expires) > time.time():
                return True
        return False

    def cookie(self, session: str) -> str:
        """The Set-Cookie header of a session."""
        return f"{self.cookie_name}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SECONDS_OF_SESSION}"


def launch_token_of(scope: dict[str, Any]) -> str:
    """The token that a launch brings; empty when it brings none."""
    return parse_qs(scope["query_string"].decode("ascii", "replace")).get("token", [""])[0]


def _is_launch(scope: dict[str, Any]) -> bool:
    return scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/launch"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def _cookies(headers: Iterable[tuple[bytes, bytes]], name: str) -> list[str]:
    pairs = [pair.strip().partition("=") for line in _values(headers, b"cookie") for pair in line.split(";")]
    return [value for key, _, value in pairs if key == name]
