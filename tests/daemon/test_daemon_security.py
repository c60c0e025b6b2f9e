"""Nobody gets through the door who may not: every route, over real sockets, with every kind of wrong credentials."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from serving import SECONDS, Served
from starlette.routing import Route, WebSocketRoute

from flowstead.daemon import security as doors
from flowstead.daemon.app import make_app
from flowstead.daemon.machine import Machine
from flowstead.daemon.security import Security, token_of
from flowstead.model.errors import FlowsteadError, HomeUnwritable

NOWHERE = (
    "/",
    "/launch",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/api/v1/openapi.json",
    "/metrics",
    "/api/v1",
    "/static/x",
)


def every_route(served: Served) -> list[tuple[str, str]]:
    """Method and address of everything the application has, and of what frameworks like to add."""
    found = [("GET", path) for path in NOWHERE]
    for route in served.app.api.routes:
        assert isinstance(route, Route | WebSocketRoute), f"{route} is of a kind that this test does not know"
        path = re.sub(r"{[^}]*}", "x", route.path)
        methods = route.methods or {"GET"} if isinstance(route, Route) else {"GET"}
        found += [(method, path) for method in sorted({*methods, "GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE"})]
    assert len(found) > 100
    return found


FOREIGN = {
    "no credentials": ({}, 401, "unauthorized"),
    "a wrong token": ({"Authorization": "Bearer " + "x" * 43}, 401, "unauthorized"),
    "an empty token": ({"Authorization": "Bearer "}, 401, "unauthorized"),
    "another scheme": ({"Authorization": "Basic TOKEN"}, 401, "unauthorized"),
    "a made-up cookie": ({"Cookie": "COOKIE=9999999999.00"}, 401, "unauthorized"),
    "a made-up cookie of odd characters": ({"Cookie": "COOKIE=9999999999.\xe9\xff"}, 401, "unauthorized"),
    "the token, from a foreign origin": ({"Authorization": "Bearer TOKEN", "Origin": "http://evil.example"}, 403, None),
    "the token, from another port": ({"Authorization": "Bearer TOKEN", "Origin": "http://127.0.0.1:1"}, 403, None),
    "the token, from a null origin": ({"Authorization": "Bearer TOKEN", "Origin": "null"}, 403, None),
    "the token, from another site": ({"Authorization": "Bearer TOKEN", "Sec-Fetch-Site": "cross-site"}, 403, None),
    "the token, from the same site": ({"Authorization": "Bearer TOKEN", "Sec-Fetch-Site": "same-site"}, 403, None),
    "the token, to a foreign host": ({"Authorization": "Bearer TOKEN", "Host": "evil.example"}, 403, "host-refused"),
    "the token, to a host without port": ({"Authorization": "Bearer TOKEN", "Host": "localhost"}, 403, "host-refused"),
    "the token, to a name that begins so": (
        {"Authorization": "Bearer TOKEN", "Host": "localhost:PORT.evil.example"},
        403,
        "host-refused",
    ),
    "the session, from a foreign origin": ({"Cookie": "SESSION", "Origin": "http://evil.example"}, 403, None),
    "the session, from another site": ({"Cookie": "SESSION", "Sec-Fetch-Site": "cross-site"}, 403, None),
}


@pytest.mark.parametrize("who", FOREIGN)
def test_no_route_answers_a_stranger(door: Served, who: str) -> None:
    given, status, code = FOREIGN[who]
    session = door.security.redeem(door.security.new_launch_token())
    words = {
        "TOKEN": door.token,
        "COOKIE": door.security.cookie_name,
        "SESSION": f"{door.security.cookie_name}={session}",
        "PORT": str(door.port),
    }
    headers = {
        name: re.sub("TOKEN|COOKIE|SESSION|PORT", lambda found: words[found[0]], value) for name, value in given.items()
    }
    for method, path in every_route(door):
        answer = door.get(path, method=method, **headers)
        code_here = "launch-token-invalid" if path == "/launch" and method == "GET" and status == 401 else code
        assert answer.status == status, f"{who}: {method} {path} gave {answer.status}"
        if method != "HEAD":
            assert set(answer.json) == {"code", "message", "hint", "detail"} and answer.json["detail"] == {}
            assert code_here is None or answer.code == code_here
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "set-cookie" not in answer.headers


def test_no_route_upgrades_a_stranger_to_a_websocket(door: Served) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for _, path in every_route(door):
        assert door.get(path, **upgrade).status == 401
        assert door.get(path, **upgrade, **door.bearer, Origin="http://evil.example").status == 403


def test_a_websocket_is_behind_the_same_door(home: Path) -> None:
    """The application has none yet; whoever adds one finds it locked."""
    security = Security("t" * 43)
    security.allow(8000)
    app = make_app(Machine(command="test"), security)
    reached: list[str] = []

    async def endpoint(talk: Any) -> None:
        reached.append(talk.url.path)
        await talk.accept()
        await talk.close()

    app.api.router.routes.append(WebSocketRoute("/api/v1/talk", endpoint))

    def sent(*headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
        scope = {
            "type": "websocket",
            "path": "/api/v1/talk",
            "raw_path": b"/api/v1/talk",
            "query_string": b"",
            "root_path": "",
            "scheme": "ws",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 1),
            "subprotocols": [],
            "state": {},
            "headers": [(b"host", b"127.0.0.1:8000"), *headers],
        }
        messages: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            messages.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        asyncio.run(app(scope, receive, send))
        return messages

    token = (b"authorization", b"Bearer " + b"t" * 43)
    cookie = (b"cookie", f"{security.cookie_name}={security.redeem(security.new_launch_token())}".encode())
    own, evil = (b"origin", b"http://127.0.0.1:8000"), (b"origin", b"http://evil.example")
    for headers in ((), (own,), (evil, token), (evil, cookie), (cookie,), (cookie, (b"sec-fetch-site", b"same-site"))):
        assert sent(*headers) == [{"type": "websocket.close", "code": 1008}]
    assert not reached
    assert [message["type"] for message in sent(token)] == ["websocket.accept", "websocket.close"]
    assert [message["type"] for message in sent(own, cookie)] == ["websocket.accept", "websocket.close"]


def test_who_has_the_token_or_is_this_user_gets_in(served: Served) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "LOCALHOST"):
        assert served.get("/api/v1/health", Host=f"{host}:{served.port}", **served.bearer).status == 200
    origin = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    assert served.get("/api/v1/health", **origin, **served.bearer).status == 200
    with served.machine_client("unix") as machine:
        assert machine.health()["status"] == "ok"


def test_a_launch_token_opens_one_session(served: Served) -> None:
    with served.machine_client() as machine:
        path = machine.launch_path()
    answer = served.get(path)
    assert (answer.status, answer.headers["location"], answer.body) == (303, "/", b"")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    session = {"Cookie": f"other=1; {cookie.split(';')[0]}"}
    again = served.get(path)
    assert (again.status, again.code) == (401, "launch-token-invalid") and "set-cookie" not in again.headers
    page = served.get("/", **session)
    assert page.status == 200 and b"<title>Flowstead</title>" in page.body
    assert served.get("/api/v1/health", **session).status == 200
    # A browser says with what it sends where it comes from; without that, a session opens nothing that changes.
    own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    assert served.get("/api/v1/launch-tokens", method="POST", **session).code == "origin-missing"
    assert served.get("/api/v1/launch-tokens", method="POST", **session, **own).status == 200
    assert served.get("/launch").code == served.get("/launch?token=x").code == "launch-token-invalid"


def test_a_session_outlives_its_daemon_and_not_its_time_nor_its_token(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = served.security.redeem(served.security.new_launch_token())
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"cookie", f"{served.security.cookie_name}={session}".encode()),
        ],
    }

    def lets_in(token: str) -> bool:
        other = Security(token)
        other.allow(8000)
        try:
            other.check(scope)
        except FlowsteadError:
            return False
        return True

    assert lets_in(served.token) and not lets_in("another token of that length".ljust(43, "x"))
    expires, _, signature = session.partition(".")
    scope["headers"][1] = (b"cookie", f"{served.security.cookie_name}={int(expires) + 1}.{signature}".encode())
    assert not lets_in(served.token)
    scope["headers"][1] = (b"cookie", f"{served.security.cookie_name}={session}".encode())
    monkeypatch.setattr(time, "time", lambda: float(expires) + 1)
    assert not lets_in(served.token)


def test_launch_tokens_expire_and_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    security = Security("t" * 43)
    token = security.new_launch_token()
    assert token not in repr(vars(security)), "only its hash is kept"
    now += 59
    late = security.new_launch_token()
    now += 2
    with pytest.raises(FlowsteadError):
        security.redeem(token)
    assert security.redeem(late)
    for _ in range(1000):
        last = security.new_launch_token()
    assert len(security._launch_tokens) == doors.MOST_LAUNCH_TOKENS
    assert security.redeem(last)


def test_every_answer_has_its_headers(served: Served) -> None:
    for answer in (
        served.get("/api/v1/health", **served.bearer),
        served.get("/api/v1/absent", **served.bearer),
        served.get("/", **served.bearer),
        served.get("/api/v1/health"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..%2f..%2fetc%2fpasswd",
            "%2e%2e",
            "..%5c..%5cx",
            "%252e%252e%252fx",
            "x%00y",
            "%00",
            "x%0d%0aSet-Cookie:a=b",
        ),
        *("..;/x", "%c0%ae%c0%ae", "%ff", "C:%5cx", "%2Fetc%2Fpasswd", "~root", "%e2%80%ae", "a" * 4000),
    ],
)
def test_names_that_lead_elsewhere_lead_nowhere(door: Served, name: str) -> None:
    (door.machine.host(door.key).layout.root / "secret.txt").write_text("of the house")
    below = f"/api/v1/workspaces/{door.key}"
    for path in (
        f"/api/v1/workspaces/{name}/runs",
        f"{below}/flows/{name}",
        f"{below}/runs/{name}",
        f"{below}/runs/{name}/log",
    ):
        answer = door.get(path, **door.bearer)
        assert answer.status in (400, 404), f"{path}: {answer.status} {answer.body!r}"
        if "%00" in name or "%0d" in name:
            assert answer.code == "usage", "control characters get no further than the door"
        assert b"of the house" not in answer.body and b"root:" not in answer.body
        assert "set-cookie" not in answer.headers
        assert set(answer.json) == {"code", "message", "hint", "detail"}
    answer = door.get(f"{below}/flows/{name}/start", method="POST", body=b"{}", **door.bearer)
    assert answer.status in (400, 404)


# -- the token and the socket on disk ------------------------------------------------------------------------------


def test_the_token_is_made_once_and_for_this_user_alone(home: Path) -> None:
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(token_of(home))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8 and len(set(tokens)) == 1 and len(tokens[0]) >= 43
    assert [path.name for path in home.iterdir()] == ["token"]
    if os.name == "posix":
        (home / "token").chmod(0o644)
        assert token_of(home) == tokens[0]
        assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600
    (home / "token").write_text("short")
    with pytest.raises(HomeUnwritable, match="no token"):
        token_of(home)


@pytest.mark.skipif(os.name != "posix", reason="Unix sockets")
def test_the_socket_is_for_this_user_alone(served: Served) -> None:
    assert stat.S_IMODE(served.socket_path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs another user to be")
def test_another_user_on_the_socket_is_hung_up_on(served: Served) -> None:
    # Even with all rights on disk: who connects is asked for by name.
    served.socket_path.chmod(0o777)
    for folder in served.socket_path.parents:
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o711)
    ask = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
try:
    connection.sendall(b"GET /api/v1/health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(len(connection.recv(4096)))
except OSError:
    print(0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", ask, str(served.socket_path)], capture_output=True, text=True, timeout=SECONDS
    )
    assert ended.stdout.strip() == "0", ended.stderr


def test_only_the_loopback_interface_is_listened_on(served: Served) -> None:
    assert served.server._sockets[-1].getsockname()[0] == "127.0.0.1"


# -- what is no request ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /" + b"x" * 1_000_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_000_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_is_no_request_is_told_so_and_hung_up_on(door: Served, data: bytes) -> None:
    with door.connect("tcp") as connection:
        answer = b""
        try:
            connection.sendall(data)
            while more := connection.recv(65536):
                answer += more
        except (ConnectionResetError, BrokenPipeError):
            # Hung up on before all of it was sent, the answer may be lost.
            assert len(data) > 100_000
            return
    assert answer.startswith(b"HTTP/1.1 400 ") and b'"code":"bad-request"' in answer


def test_a_body_beyond_the_limit_is_refused(door: Served) -> None:
    path = f"/api/v1/workspaces/{door.key}/runs/by-id"
    answer = door.get(path, method="POST", body=b'{"ids": ["' + b"x" * (1 << 20) + b'"]}', **door.bearer)
    assert (answer.status, answer.code) == (413, "request-too-large")
    with door.connect("tcp") as connection:  # one that does not say how long it gets
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nAuthorization: Bearer {door.token}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(40):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        except OSError:
            pass
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_form_from_a_foreign_page_is_no_request(door: Served) -> None:
    """What a page can send without being asked for leave, even with a cookie that should not have come along."""
    body = b'{"path": "/"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = door.get("/api/v1/workspaces", method="POST", body=body, Content_Type=kind, **door.bearer)
        assert answer.status == 400, kind
