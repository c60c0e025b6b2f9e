"""Streams over real sockets: without gaps or repeats, and no client at another's cost."""

from __future__ import annotations

import http.client
import json
import os
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from serving import SECONDS, Served, items, until

import flowstead.client.http as client_http
from flowstead.client import Client
from flowstead.client.http import HttpTransport
from flowstead.daemon import server as serving_module
from flowstead.daemon import streaming
from flowstead.model.errors import DaemonLost, DaemonUnreachable, FlowsteadError
from flowstead.model.run import iso

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"

SMALL = """
    from flowstead import Flow

    def build():
        return Flow("Small").watch(max_parallel=4).step(first).step(second)

    def first(context):
        print("x" * 50)
        return 1

    def second(context):
        context.summary = "done"
"""
TALKS = """
    from flowstead import Flow

    def build():
        return Flow("Talks").step(first)

    def first(context):
        for number in range(8_000):
            print(number, "x" * 200)
"""
WAITS = """
    import time

    from flowstead import Flow

    def build():
        return Flow("Waits").step(first, save_as="never")

    def first(context):
        while True:
            context.check_cancelled()
            time.sleep(0.01)
"""


@pytest.fixture
def key(served: Served, workspace: Any) -> str:
    workspace.module("small", SMALL)
    workspace.module("talks", TALKS)
    workspace.module("waits", WAITS)
    with served.machine_client() as machine:
        return machine.open(workspace.root)["workspace"]


@pytest.fixture
def client(served: Served, key: str) -> Iterator[Client]:
    with served.machine_client() as machine, machine.client(key) as client:
        yield client


def finish(client: Client, started: dict[str, Any]) -> None:
    waiting = {*started["started"], *started["resumed"], *started["waiting"]}
    for event in items(client.events(after=started["after"])):
        if event["kind"] == "run" and event["row"]["status"] in ("succeeded", "failed", "cancelled"):
            waiting.discard(event["id"])
        if not waiting:
            return


def request(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def read_some(connection: socket.socket, what: bytes) -> bytes:
    """What comes, up to and with `what`."""
    data = b""
    while what not in data:
        more = connection.recv(65536)
        assert more, f"{what!r} never came; this did: {data!r}"
        data += more
    return data


def read_stream(served: Served, path: str, what: bytes, **headers: str) -> tuple[dict[str, str], str]:
    """The headers of a stream, and its text up to and with `what`."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={**served.bearer, **headers})
        response = connection.getresponse()
        assert response.status == 200
        data = b""
        while what not in data:
            more = response.read1(65536)
            assert more, f"{what!r} never came; this did: {data!r}"
            data += more
        return {name.lower(): value for name, value in response.getheaders()}, data.decode()
    finally:
        connection.close()


# -- what goes over the wire ---------------------------------------------------------------------------------------


def test_what_a_browser_reads(served: Served, key: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SECONDS_BETWEEN_SIGNS_OF_LIFE", 0.05)
    finish(client, client.start("small"))
    path = f"/api/v1/workspaces/{key}/events"
    headers, body = read_stream(served, path + "?after=0", b": still here\n\n")
    assert headers["content-type"].startswith("text/event-stream") and headers["cache-control"] == "no-store"
    assert "content-length" not in headers
    blocks = [block for block in body.split("\n\n") if "event: item" in block]
    found = []
    for block in blocks:
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        item = json.loads(lines["data"])
        assert lines["event"] == "item" and int(lines["id"]) == item["seq"]
        assert set(item) == {"seq", "at", "kind", "id", "change", "row"}
        found.append(item["seq"])
    assert found == sorted(set(found)) and len(found) >= 3
    assert "retry: 1000" in body
    # The browser connects again, with the address it had at first.
    _, body = read_stream(served, path + "?after=0", b": still here\n\n", **{"Last-Event-ID": str(found[-2])})
    assert [int(line[4:]) for line in body.splitlines() if line.startswith("id: ")] == [found[-2], found[-1]]


def test_a_reader_that_begins_now_knows_where_it_began(served: Served, key: str, client: Client) -> None:
    """Cut off before the first event, it misses none of those that came meanwhile."""
    finish(client, client.start("small"))
    _, body = read_stream(served, f"/api/v1/workspaces/{key}/events", b"retry: 1000\n\n")
    (begin,) = (int(line[4:]) for line in body.splitlines() if line.startswith("id: "))
    assert begin == served.machine.host(key).reader.last_event() > 0


def test_a_stream_that_cannot_begin_is_a_plain_error(served: Served, key: str) -> None:
    answer = served.get(f"/api/v1/workspaces/{key}/runs/absent/log", **served.bearer)
    assert (answer.status, answer.code) == (404, "run-not-found")
    answer = served.get("/api/v1/workspaces/absent/events", **served.bearer)
    assert (answer.status, answer.code) == (404, "workspace-not-found")
    until(lambda: not len(served.app.streams), "both are forgotten")


def test_events_that_are_gone_are_not_passed_over(served: Served, key: str, client: Client) -> None:
    finish(client, client.start("small"))
    last = served.machine.host(key).reader.last_event()
    with pytest.raises(FlowsteadError, match="are not kept") as caught:
        next(client.events(after=last + 1))
    assert caught.value.code == "events-gone" and caught.value.detail == {"first": 1, "last": last}
    assert served.get(f"/api/v1/workspaces/{key}/events?after={last + 1}", **served.bearer).status == 410


def test_a_workspace_that_is_closed_cuts_its_streams_off(served: Served, key: str, client: Client) -> None:
    stream = client.events()
    assert next(stream) is None
    served.machine.close_workspace(key)
    with pytest.raises(FlowsteadError) as caught:
        for _ in items(stream):
            pass
    assert caught.value.code == "workspace-not-open"


def test_a_stream_keeps_its_workspace_open(served: Served, key: str, client: Client) -> None:
    host = served.machine.host(key)
    stream = client.events()
    next(stream)
    host._used_at = 0.0
    until(lambda: host.needed(10), "the stream says that it is used")
    stream.close()
    until(lambda: not len(served.app.streams), "the stream ended")
    host._used_at = 0.0
    assert not host.needed(10)


# -- no gaps, no repeats -----------------------------------------------------------------------------------------


class CuttingProxy:
    """Passes connections on to the Unix socket of a server, and cuts each off after some bytes."""

    def __init__(self, target: Path, chance: random.Random) -> None:
        self._target = target
        self._chance = chance
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts = 0
        self.most = 20_000
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        left = self._chance.randrange(600, self.most)
        with connection, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(str(self._target))
            except OSError:
                return
            while True:
                for ready in select.select([connection, server], [], [])[0]:
                    other = server if ready is connection else connection
                    try:
                        data = ready.recv(65536)
                        if ready is server:
                            data = data[:left]
                            left -= len(data)
                        other.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    if left <= 0:
                        self.cuts += 1
                        if self._chance.random() < 0.5:  # without a word, or with a reset
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        return

    def close(self) -> None:
        self._listener.close()


def test_events_have_no_gaps_and_no_repeats_however_often_the_connection_breaks(
    served: Served, key: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fold `rows[kind][id] = row` over a connection that is cut at random is the ledger, at the end."""
    monkeypatch.setattr(client_http, "SECONDS_BETWEEN_TRIES", 0.001)
    monkeypatch.setattr(client_http, "MOST_LOST", 50)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    proxy = CuttingProxy(served.socket_path, random.Random(seed))
    runs = 300 if COMPLETE_RUN else 40
    started: list[str] = []

    def start() -> None:
        with served.machine_client() as machine, machine.client(key) as starter:
            for _ in range(runs):
                started.extend(starter.start("small", new=True)["started"])

    starting = threading.Thread(target=start)
    view: dict[str, dict[str, Any]] = {}
    seen: list[int] = []
    last = 0
    with HttpTransport(proxy.url, below=f"/api/v1/workspaces/{key}") as transport:
        starting.start()
        for event in items(Client(transport).events(after=0)):
            assert event["seq"] > last, "a repeat, or out of order"
            last = event["seq"]
            seen.append(last)
            view.setdefault(event["kind"], {})[event["id"]] = event["row"]
            ended = [row for row in view.get("run", {}).values() if row["status"] == "succeeded"]
            if len(ended) == runs:
                break
    starting.join()
    proxy.close()
    reader = served.machine.host(key).reader
    assert proxy.cuts > 5, "nothing was cut: this proves nothing"
    assert {run["id"] for run in ended} == set(started)
    # Every change that came by then is told of by itself, or by a later one to the same row.
    ledger = [row for row in reader.events(0, 100_000) if row[0] <= last]
    newest = {(kind, row_id): seq for seq, _, kind, row_id, _ in ledger}
    assert set(newest.values()) <= set(seen)
    for run in reader.runs_by_id(started):
        assert view["run"][run.id] == run.as_dict()
        assert iso(run.finished_at) == view["run"][run.id]["finished_at"]


def test_a_log_is_followed_over_a_connection_that_breaks(
    served: Served, key: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_http, "SECONDS_BETWEEN_TRIES", 0.001)
    monkeypatch.setattr(client_http, "MOST_LOST", 50)
    proxy = CuttingProxy(served.socket_path, random.Random(7))
    proxy.most = 1_000_000
    (run_id,) = client.start("talks")["started"]
    with HttpTransport(proxy.url, below=f"/api/v1/workspaces/{key}") as transport:
        lines = list(items(Client(transport).log(run_id, follow=True)))
    proxy.close()
    assert proxy.cuts > 2
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    output = [line["message"].split()[0] for line in lines if line["event"] == "output"]
    assert output == [str(number) for number in range(8_000)]


def test_a_stream_that_breaks_too_often_is_given_up(served: Served, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_http, "SECONDS_BETWEEN_TRIES", 0.001)
    proxy = CuttingProxy(served.socket_path, random.Random(7))
    transport = HttpTransport(proxy.url, below=f"/api/v1/workspaces/{key}")
    stream = Client(transport).events(after=0)
    assert next(stream) is None
    proxy.close()
    served.stop()
    with pytest.raises(DaemonUnreachable):
        for _ in items(stream):
            pass


def test_a_preview_whose_daemon_goes_away_says_so(served: Served, client: Client) -> None:
    stream = client.preview("waits")
    assert next(stream) is None
    served.stop()
    with pytest.raises(DaemonLost) as caught:
        for _ in items(stream):
            pass
    assert caught.value.code == "daemon-lost"


# -- nobody at another's cost ----------------------------------------------------------------------------------------


def slowest(served: Served, times: int = 50) -> float:
    """The slowest of some answers, in seconds."""
    found = []
    with served.machine_client() as machine:
        for _ in range(times):
            begun = time.monotonic()
            machine.health()
            found.append(time.monotonic() - begun)
    return max(found)


PROMPT = 2.0
"""Seconds in which everybody is answered, on a machine that does other things too. Each of the clients here keeps what
it holds for a minute at least, so whoever waited for one of them would wait for much longer."""


def test_readers_that_never_read_cost_little_and_delay_nobody(
    served: Served, key: str, client: Client, workspace: Any
) -> None:
    started = client.start("talks")
    finish(client, started)
    path = f"/api/v1/workspaces/{key}/runs/{started['started'][0]}/log"
    process = psutil.Process()
    before = process.memory_info().rss
    stalled = []
    for _ in range(40):
        connection = served.connect()
        connection.sendall(request(path))
        stalled.append(connection)
    until(lambda: len(served.app.streams) == 40, "all streams are open")

    def waiting() -> list[int]:
        return [stream._size for stream in served.app.streams._open]

    # Each has filled the socket and then its share here; it is a log of megabytes.
    until(lambda: min(waiting()) >= streaming.MOST_UNSENT, "all have stalled")
    assert max(waiting()) < streaming.MOST_UNSENT + 1000
    assert process.memory_info().rss - before < 40 * 1_000_000
    assert slowest(served) < PROMPT
    assert len(list(items(client.log(started["started"][0])))) > 8_000
    finish(client, client.start("small"))
    for connection in stalled:
        connection.close()
    until(lambda: not len(served.app.streams), "the streams ended with their readers")
    until(lambda: not [each for each in threading.enumerate() if each.name == "stream"], "and so did their threads")


def test_many_idle_streams_delay_nobody(served: Served, key: str, client: Client) -> None:
    client.runs()
    connections = []
    for _ in range(200):
        connection = served.connect()
        connection.sendall(request(f"/api/v1/workspaces/{key}/events"))
        connections.append(connection)
    until(lambda: len(served.app.streams) == 200, "all streams are open")
    assert slowest(served) < PROMPT
    finish(client, client.start("small"))
    for connection in connections:
        read_some(connection, b'"succeeded"')
        connection.close()
    until(lambda: not len(served.app.streams), "the streams ended with their readers")


def test_too_many_streams_are_refused_and_the_rest_goes_on(served: Served, key: str, client: Client) -> None:
    served.app.streams._most = 2
    first, second = client.events(), client.events()
    next(first), next(second)
    with pytest.raises(FlowsteadError) as caught:
        next(client.events())
    assert caught.value.code == "too-many-streams"
    first.close()
    until(lambda: len(served.app.streams) == 1, "one was closed")
    third = client.events()
    assert next(third) is None
    for stream in (second, third):
        stream.close()


def test_clients_that_say_nothing_are_hung_up_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "SECONDS_FOR_REQUEST", 0.3)
    path = "/api/v1/launch-tokens"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token}\r\n"
    says = [b"", b"GE", head.encode(), f"{head}Content-Length: 10\r\n\r\n123".encode()]
    for kind in ("unix", "tcp"):
        for words in says:
            with served.connect(kind) as connection:
                connection.sendall(words)
                begun = time.monotonic()
                while True:
                    try:
                        # A word now and then does not help.
                        if words:
                            connection.sendall(b"1")
                        connection.settimeout(0.05)
                        if not (connection.recv(65536)):
                            break
                    except TimeoutError:
                        assert time.monotonic() - begun < SECONDS, f"{kind} {words!r} was never hung up on"
                    except OSError:
                        break
    with served.machine_client("tcp") as machine:
        machine.health()
        assert machine.health()["status"] == "ok", "a connection that is kept is another thing"


def test_whoever_says_nothing_makes_room(served: Served, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "MOST_CONNECTIONS", 20)
    monkeypatch.setattr(serving_module, "SECONDS_FOR_REQUEST", 10 * SECONDS)
    watching = served.machine_client("tcp").client(key)
    stream = watching.events()
    assert next(stream) is None
    silent = [served.connect("tcp") for _ in range(100)]
    assert slowest(served) < PROMPT
    for _ in range(5):
        assert served.get("/api/v1/health", **served.bearer).status == 200
    connections = served.server._server.server_state.connections
    until(lambda: len([each for each in connections if not each.own_user]) <= 20, "the silent ones made room")
    assert next(stream) is None, "who is being answered is left alone"
    stream.close()
    watching.close()
    for connection in silent:
        connection.close()


def test_what_a_stream_started_ends_with_its_reader(served: Served, key: str) -> None:
    before = set(psutil.Process().children())
    with served.machine_client() as machine, machine.client(key) as client:
        stream = client.preview("waits")
        next(stream)
        until(lambda: set(psutil.Process().children()) - before, "its worker runs")
        stream.close()
    until(lambda: not len(served.app.streams), "the stream ended")
    until(lambda: not set(psutil.Process().children()) - before, "so did its worker")


def test_the_end_of_the_server_waits_for_no_stream(home: Path, workspace: Any) -> None:
    served = Served(home, grace=0.5)
    workspace.module("small", SMALL)
    workspace.module("talks", TALKS)
    with served.machine_client() as machine:
        key = machine.open(workspace.root)["workspace"]
        with machine.client(key) as client:
            started = client.start("talks")
            finish(client, started)
            idle = [client.events() for _ in range(10)]
            for stream in idle:
                assert next(stream) is None
            stalled = [served.connect() for _ in range(5)]
            for connection in stalled:
                connection.sendall(request(f"/api/v1/workspaces/{key}/runs/{started['started'][0]}/log"))
            silent = [served.connect(kind) for kind in ("unix", "tcp")]
            until(lambda: len(served.app.streams) == 15, "all are open")
            begun = time.monotonic()
            served.stop()
            assert time.monotonic() - begun < 5
            for connection in (*stalled, *silent):
                connection.close()
            for stream in idle:
                stream.close()
    served.machine.close()


def test_a_server_that_was_stopped_before_it_ran_ends(home: Path, workspace: Any) -> None:
    served = Served(home)
    served.stop()
    served.server.stop()
    served.close()
