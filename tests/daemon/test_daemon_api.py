"""One suite of calls over every transport: in this process, over the Unix socket, over the loopback port."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from serving import SECONDS, Served, items, until

from flowstead.client import Client, MachineClient, connect
from flowstead.client.http import HttpTransport
from flowstead.daemon.embedded import embedded
from flowstead.daemon.server import listen_on_port
from flowstead.model.errors import (
    DaemonLost,
    DaemonUnreachable,
    FlowBroken,
    FlowNotFound,
    FlowsteadError,
    NotFound,
    ParameterError,
    RunNotFound,
    TransitionRefused,
    UsageError,
    WorkspaceNotFound,
)
from flowstead.workspace.layout import WorkspaceLayout

FLOWS = {
    "small": """
        from flowstead import Flow

        DESCRIPTION = "Three small steps."

        def build():
            return Flow("Small").step(first, save_as="one").step(second).step(third, label="The last")

        def first(context):
            print("first is here")
            return [1, 2, 3]

        def second(context):
            return sum(context.current)

        def third(context):
            context.summary = f"the sum is {context.current}"
    """,
    "asks": """
        from flowstead import Choice, Flow

        def build():
            return Flow("Asks").ask("day", int).ask("kind", Choice(["a", "b"]), default="a").step(first)

        def first(context):
            context.summary = str(context.params["day"])
    """,
    "bad": """
        from flowstead import Flow

        def build():
            return Flow("Bad").step(fine).step(divide).map(never)

        def fine(context):
            return 0

        def divide(context):
            return 1 / context.current

        def never(item):
            return item
    """,
    "broken": "def build(:\n",
    "slow": """
        import time
        from pathlib import Path

        from flowstead import Flow

        def build():
            return Flow("Slow").step(first)

        def first(context):
            while not Path("go").exists():
                context.check_cancelled()
                time.sleep(0.01)
    """,
}
ENDED = ("succeeded", "failed", "cancelled", "interrupted")


@pytest.fixture(params=["embedded", "unix", "tcp"])
def client(request: pytest.FixtureRequest, served: Served, workspace: Any) -> Iterator[Client]:
    for name, source in FLOWS.items():
        workspace.module(name, source)
    if request.param == "embedded":
        client = Client(embedded(workspace.root, command="test"))
    else:
        with served.machine_client(request.param) as machine:
            client = machine.client(machine.open(workspace.root)["workspace"])
    with client:
        yield client


def follow(client: Client, started: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that were started, once they have ended."""
    ids = started["started"] + started["resumed"] + started["waiting"]
    runs = client.runs_by_id(ids)
    for _ in client.events(after=started["after"]):
        runs = client.runs_by_id(ids)
        if all(run["status"] in ENDED for run in runs):
            break
    return runs


def same(value: Any) -> Any:
    """A value without what differs from run to run: ids, times, folders."""
    if isinstance(value, dict):
        return {key: same(each) for key, each in value.items() if not re.search(r"_at$|_ms$|^at$|timestamp|^pid$", key)}
    if isinstance(value, list):
        return [same(each) for each in value]
    if isinstance(value, str):
        return re.sub(r" in [\d.]+ m?s", " in no time", re.sub(r"r_[0-9a-f]{32}", "RUN", value))
    return value


def script(client: Client) -> Iterator[tuple[str, Any]]:
    """Everything a client can ask for, in one order."""
    yield "flows", client.flows()
    yield "flow", client.flow("small", runs=2)
    yield "check", client.check()
    yield "check one", client.check("broken")
    yield "no runs", client.runs()
    (run,) = follow(client, client.start("small"))
    yield "small", run
    yield "run", client.run(run["id"][-8:])
    yield "log", list(items(client.log(run["id"])))
    yield "log after", list(items(client.log(run["id"], after=3, follow=True)))
    started = client.start("bad", params={}, key="once")
    (bad,) = follow(client, started)
    yield "bad", bad
    yield "again", client.start("bad", key="once")["waiting"] == [] and client.runs(flow="bad")
    yield "retry", follow(client, client.retry(bad["id"], from_step="divide"))
    yield "params", follow(client, client.start("asks", params={"day": 3, "kind": "b"}))
    page = client.runs(limit=2)
    yield "page", [len(page["runs"]), client.runs(limit=2, cursor=page["next"])]
    yield "failed", [each["flow"] for each in client.runs(status="failed")["runs"]]
    *output, value = items(client.preview("small", use="one", rows=2))
    yield "preview", ["".join(each["output"] for each in output), value]
    slow = client.start("slow")
    for event in items(client.events(after=slow["after"])):
        if (event["kind"], event["change"]) == ("step", "running"):
            break
    yield "cancelled", client.cancel(slow["started"][0])["id"] == slow["started"][0]
    yield "ended", follow(client, slow)
    seen = {}
    for event in items(client.events(after=0)):
        seen[event["kind"], event["id"]] = event["change"]
        if event["id"] == slow["started"][0] and event["change"] == "cancelled":
            break
    yield "events", sorted((kind, change) for (kind, _), change in seen.items())
    yield "nothing to resume", client.resume()
    for what, ask in {
        "no flow": lambda: client.start("absent"),
        "no flow with an odd name": lambda: client.flow("a b?c#d%2f&ö"),
        "no flow above": lambda: client.flow(".."),
        "a broken one": lambda: client.start("broken"),
        "no parameter": lambda: client.start("asks"),
        "a wrong one": lambda: client.start("asks", params={"day": "x"}),
        "a wrong choice": lambda: client.start("asks", params={"day": 1, "kind": "c"}),
        "no run": lambda: client.run("r_0000"),
        "no log": lambda: list(client.log("absent")),
        "ended": lambda: client.cancel(run["id"]),
        "too many": lambda: client.runs(limit=5000),
        "no status": lambda: client.runs(status="odd"),
        "rows": lambda: list(client.preview("small", rows=0)),
        "no waypoint": lambda: list(client.preview("small", use="absent")),
        "a failing preview": lambda: list(client.preview("bad")),
        "no step": lambda: client.retry(bad["id"], from_step="absent"),
    }.items():
        with pytest.raises(FlowsteadError) as caught:
            ask()
        error = caught.value
        yield what, [type(error).__name__, error.exit_code, error.as_dict()]


def test_every_transport_gives_the_same_answers_and_errors(served: Served, workspace: Any, tmp_path: Any) -> None:
    for name, source in FLOWS.items():
        workspace.module(name, source)
    key = WorkspaceLayout.of(workspace.root).key
    told: dict[str, dict[str, Any]] = {}
    for kind in ("embedded", "unix", "tcp"):
        if kind == "embedded":
            client = Client(embedded(workspace.root, command="test"))
        else:
            with served.machine_client(kind) as machine:
                client = machine.client(machine.open(workspace.root)["workspace"])
        with client:
            told[kind] = {what: same(answer) for what, answer in script(client)}
        # The next one begins with an empty history too.
        if key in (host.layout.key for host in served.machine.hosts):
            served.machine.close_workspace(key)
        forget(workspace.root)
    assert len(told["embedded"]) > 30
    assert told["embedded"]["a wrong one"][2]["detail"] == {"parameter": "day"}
    for kind in ("unix", "tcp"):
        for what, answer in told["embedded"].items():
            assert told[kind][what] == answer, f"{what} over {kind}"


def forget(root: Any) -> None:
    shutil.rmtree(WorkspaceLayout.of(root).local)
    shutil.rmtree(root / ".workspace_state", ignore_errors=True)


def test_errors_are_of_their_class(client: Client) -> None:
    for kind, ask in {
        FlowNotFound: lambda: client.start("absent"),
        FlowBroken: lambda: client.start("broken"),
        RunNotFound: lambda: list(client.log("absent")),
        ParameterError: lambda: client.start("asks"),
        UsageError: lambda: client.runs(limit=0),
        TransitionRefused: lambda: client.cancel(follow(client, client.start("small"))[0]["id"]),
    }.items():
        with pytest.raises(kind) as caught:
            ask()
        assert type(caught.value) is kind
        assert caught.value.message and isinstance(caught.value.detail, dict)


def test_a_run_is_told_of_while_it_runs(client: Client, workspace: Any) -> None:
    started = client.start("slow")
    events = client.events(after=started["after"])
    for event in items(events):
        if event["kind"] == "step" and event["change"] == "running":
            break
    workspace.file("flow_modules/go")
    for event in items(events):
        if event["kind"] == "run" and event["change"] == "succeeded":
            assert event["row"]["status"] == "succeeded"
            break
    events.close()


def test_connect_finds_the_daemon_of_this_home(served: Served, workspace: Any) -> None:
    workspace.module("small", FLOWS["small"])
    with connect(workspace.root) as client:
        assert [flow["name"] for flow in client.flows()] == ["small"]
    with connect(workspace.root, url=served.url, token=served.token) as client:
        assert [flow["name"] for flow in client.flows()] == ["small"]
    with pytest.raises(WorkspaceNotFound):
        connect(workspace.root.parent)


def test_the_machine_tells_what_is_open(served: Served, workspace: Any) -> None:
    with served.machine_client("tcp") as machine:
        assert machine.health()["workspaces"] == []
        key = machine.open(workspace.root)["workspace"]
        assert machine.health()["workspaces"] == [key]
        (row,) = machine.workspaces()["workspaces"]
        assert (row["workspace"], row["path"], row["open"]) == (key, str(workspace.root), True)
        machine.close_workspace(key)
        with pytest.raises(NotFound) as caught:
            machine.close_workspace(key)
        assert caught.value.code == "workspace-not-open"


def test_nobody_there(home: Any, workspace: Any) -> None:
    with pytest.raises(DaemonUnreachable, match="No daemon"):
        connect(workspace.root)
    with pytest.raises(DaemonUnreachable) as caught:
        MachineClient(HttpTransport("http://127.0.0.1:1")).health()
    assert caught.value.code == "daemon-unreachable" and "flowstead daemon start" in caught.value.hint
    with pytest.raises(DaemonUnreachable):
        MachineClient(HttpTransport(f"unix:{home}/absent.sock")).health()


def test_a_daemon_that_goes_away_mid_request(served: Served) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(DaemonLost) as caught:
            transport.request("POST", "/runs/resume", {})
        thread.join()
    assert caught.value.code == "daemon-lost" and "not known" in caught.value.message


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(served: Served) -> None:
    with served.machine_client() as machine:
        machine.health()
        server = served.server._server
        (connection,) = server.server_state.connections
        server._loop.call_soon_threadsafe(connection.transport.abort)
        until(lambda: not server.server_state.connections, "the server closed the connection")
        assert machine.health()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("GET", "/runs?limit=many", None, "limit is not valid"),
        ("GET", "/runs?limt=5", None, "There is no limt"),
        ("POST", "/flows/x/start", b"{", "JSON"),
        ("POST", "/flows/x/start", b'{"odd": 1}', "There is no odd"),
        ("POST", "/flows/x/start", b'{"params": 3}', "params is not valid"),
        ("POST", "/flows/x/start", b"[]", "the body is not valid"),
        ("POST", "/runs/by-id", b"{}", "lacks ids"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(
    door: Served, method: str, path: str, body: bytes | None, message: str
) -> None:
    answer = door.get(f"/api/v1/workspaces/{door.key}{path}", method=method, body=body, **door.bearer)
    assert (answer.status, answer.code) == (400, "request-invalid")
    assert message in answer.json["message"] and answer.json["detail"]["fields"]
    assert set(answer.json) == {"code", "message", "hint", "detail"}


def test_an_address_that_does_not_exist(door: Served) -> None:
    for method, path, status, code in (
        ("GET", "/api/v1/absent", 404, "route-not-found"),
        ("GET", "/api/v2/health", 404, "route-not-found"),
        ("GET", "/api/v1/health/", 404, "route-not-found"),
        ("DELETE", "/api/v1/health", 405, "method-not-allowed"),
        ("GET", "/docs", 404, "route-not-found"),
        ("GET", "/openapi.json", 404, "route-not-found"),
        ("GET", "/api/v1/workspaces/absent/runs", 404, "workspace-not-found"),
    ):
        answer = door.get(path, method=method, **door.bearer)
        assert (answer.status, answer.code) == (status, code), path


def test_what_went_wrong_within_is_in_the_log_alone(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(type(served.machine), "hosts", property(fail))
    answer = served.get("/api/v1/health", **served.bearer)
    assert (answer.status, answer.code) == (500, "internal-error")
    assert b"secret" not in answer.body and b"Traceback" not in answer.body
    assert "a secret detail" in caplog.text


@pytest.mark.parametrize(
    ("asked", "status", "part", "told"),
    [
        (None, 200, slice(None), None),
        ("bytes=0-0", 206, slice(0, 1), "bytes 0-0/600000"),
        ("bytes=300000-399999", 206, slice(300000, 400000), "bytes 300000-399999/600000"),
        ("bytes=599999-", 206, slice(599999, None), "bytes 599999-599999/600000"),
        ("bytes=-10", 206, slice(-10, None), "bytes 599990-599999/600000"),
        ("bytes=-9999999", 206, slice(None), "bytes 0-599999/600000"),
        ("bytes=10-9999999", 206, slice(10, None), "bytes 10-599999/600000"),
        ("bytes=600000-", 416, slice(0, 0), "bytes */600000"),
        ("bytes=-0", 416, slice(0, 0), "bytes */600000"),
        ("bytes=9-3", 200, slice(None), None),
        ("bytes=0-1,5-6", 200, slice(None), None),
        ("bytes=-", 200, slice(None), None),
        ("lines=1-2", 200, slice(None), None),
    ],
)
def test_a_file_is_sent_whole_or_in_part(
    door: Served, asked: str | None, status: int, part: slice, told: str | None
) -> None:
    data = bytes(range(256)) * 2400
    data = data[:600_000]
    (door.machine.host(door.key).layout.root / "picture.png").write_bytes(data)
    headers = {} if asked is None else {"Range": asked}
    answer = door.get(f"/api/v1/workspaces/{door.key}/files/content?path=picture.png", **door.bearer, **headers)
    assert (answer.status, answer.headers.get("content-range")) == (status, told)
    assert answer.body == data[part]
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"


def test_a_made_file_is_removed_once_it_was_sent_or_was_not(served: Served, workspace: Any, home: Any) -> None:
    workspace.file("cities.csv", "city,count\n" + "Paris,3\n" * 200_000)
    with served.machine_client() as machine:
        key = machine.open(workspace.root)["workspace"]
    path, fields = f"/api/v1/workspaces/{key}/tables/export", b'{"format": "csv", "path": "cities.csv"}'
    assert served.get(path, method="POST", body=fields, **served.bearer).body.count(b"\n") == 200_001
    until(lambda: not any((home / "exports").iterdir()), "the export was removed")
    with served.connect() as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(fields)}\r\n"
        connection.sendall(head.encode() + b"\r\n" + fields)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    until(lambda: not any((home / "exports").iterdir()), "so was one that nobody took")


def test_no_answer_over_tcp_waits_for_more_to_send() -> None:
    async def sends_at_once() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listen_on_port()
        async with await asyncio.start_server(accept, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return await asyncio.wait_for(told, SECONDS)

    assert asyncio.run(sends_at_once()), "small answers took 40 ms more"
