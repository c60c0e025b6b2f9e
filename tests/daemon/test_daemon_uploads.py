"""Files that are dropped on a flow, over real sockets: in place whole or not at all."""

from __future__ import annotations

import errno
import http.client
import io
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Served, items, until

from flowstead.client import Client
from flowstead.daemon import server
from flowstead.daemon.embedded import embedded
from flowstead.daemon.placing import PART_PREFIX, PART_SUFFIX
from flowstead.model.errors import (
    FlowBroken,
    FlowNotFound,
    FlowsteadError,
    NotFound,
    StorageError,
    TransitionRefused,
    UsageError,
    WorkspaceOwned,
)
from flowstead.model.run import now_us
from flowstead.workspace.claims import Claim, Claims
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.shared import SharedFolder

READS = """
    from flowstead import Flow

    def build():
        return (
            Flow("Reads", label="Daily totals")
            .watch(mode="poll", source="../inbox", interval="1h", extensions=[".csv", ".csv.gz"], settle="50ms")
            .step(read)
        )

    def read(context):
        context.summary = f"{context.source.path.name}: {context.source.path.stat().st_size}"
"""
PLAIN = """
    from flowstead import Flow

    def build():
        return Flow("Plain").step(first)

    def first(context):
        return 1
"""


@pytest.fixture
def begun() -> Iterator[list[socket.socket]]:
    """Connections that end with the test."""
    connections: list[socket.socket] = []
    yield connections
    for connection in connections:
        connection.close()


@pytest.fixture
def client(served: Served, workspace: Any) -> Iterator[Client]:
    workspace.module("reads", READS)
    workspace.module("plain", PLAIN)
    with served.machine_client() as machine:
        served.key = machine.open(workspace.root)["workspace"]
        with machine.client(served.key) as client:
            yield client


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_lands_whole_and_is_run(client: Client, workspace: Any) -> None:
    data = os.urandom(3_000_001)
    answer = client.upload("reads", "day.CSV", io.BytesIO(data))
    assert answer == {
        "flow": "reads",
        "path": "inbox/day.CSV",
        "size": 3_000_001,
        "replaced": False,
        "source_path": "day.CSV",
        "starts_by_itself": False,
    }
    assert (workspace.root / "inbox" / "day.CSV").read_bytes() == data
    assert names(workspace.root / "inbox") == ["day.CSV"], "nothing temporary is left"
    started = client.start("reads")
    (run_id,) = started["started"]
    for event in items(client.events(after=started["after"])):
        if event["id"] == run_id and event["row"]["status"] == "succeeded":
            break
    run = client.run(run_id)
    assert (run["source_path"], run["summary"]) == (answer["source_path"], "day.CSV: 3000001")


def test_what_is_watched_runs_by_itself(client: Client, workspace: Any) -> None:
    workspace.module("reads", READS.replace('interval="1h"', 'interval="1s"'))
    client.engine_start()
    after = client.start("plain")["after"]
    answer = client.upload("reads", "a.csv", io.BytesIO(b"x" * 100_000))
    assert answer["starts_by_itself"]
    for event in items(client.events(after=after)):
        if event["kind"] == "run" and event["row"]["flow"] == "reads" and event["row"]["status"] == "succeeded":
            break
    assert event["row"]["source_path"] == "a.csv" and client.run(event["id"])["summary"] == "a.csv: 100000"
    assert len(client.runs(flow="reads")["runs"]) == 1


def test_nothing_is_replaced_unasked(client: Client, workspace: Any) -> None:
    client.upload("reads", "a.csv", io.BytesIO(b"one"))
    with pytest.raises(TransitionRefused) as caught:
        client.upload("reads", "a.csv", io.BytesIO(b"two"))
    assert (caught.value.code, caught.value.detail) == ("file-exists", {"file": "a.csv"})
    assert (workspace.root / "inbox" / "a.csv").read_bytes() == b"one"
    answer = client.upload("reads", "a.csv", io.BytesIO(b"three"), replace=True)
    assert (answer["replaced"], answer["size"]) == (True, 5)
    assert (workspace.root / "inbox" / "a.csv").read_bytes() == b"three"
    assert names(workspace.root / "inbox") == ["a.csv"]


def test_of_several_of_one_name_one_lands(client: Client, workspace: Any) -> None:
    (workspace.root / "inbox").mkdir()
    outcomes: list[str] = []

    def send(number: int) -> None:
        try:
            client.upload("reads", "a.csv", io.BytesIO(bytes([number]) * 700_000))
            outcomes.append("landed")
        except TransitionRefused as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["file-exists"] * 7 + ["landed"]
    assert len(set((workspace.root / "inbox" / "a.csv").read_bytes())) == 1
    assert names(workspace.root / "inbox") == ["a.csv"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "upload-name-invalid"),
        (".", "upload-name-invalid"),
        ("../a.csv", "upload-name-invalid"),
        ("/etc/a.csv", "upload-name-invalid"),
        ("a\\b.csv", "upload-name-invalid"),
        ("C:a.csv", "upload-name-invalid"),
        ("a\n.csv", "upload-name-invalid"),
        (" a.csv", "upload-name-invalid"),
        (".a.csv", "upload-name-invalid"),
        ("~$a.csv", "upload-name-invalid"),
        ("a.csv.part", "upload-name-invalid"),
        ("x" * 237 + ".csv", "upload-name-invalid"),
        ("a.txt", "upload-type-refused"),
        ("csv", "upload-type-refused"),
    ],
)
def test_names_that_lead_elsewhere_or_nowhere_are_refused(client: Client, workspace: Any, name: str, code: str) -> None:
    (workspace.root / "inbox").mkdir()
    before = sorted(workspace.root.parent.rglob("*"))
    with pytest.raises(UsageError) as caught:
        client.upload("reads", name, io.BytesIO(b"x"))
    assert caught.value.code == code and caught.value.hint
    assert sorted(path for path in workspace.root.parent.rglob("*") if "__pycache__" not in path.parts) == before


def test_flows_that_take_no_files_say_so(client: Client, workspace: Any, tmp_path: Path) -> None:
    workspace.module("broken", "def build(:\n")
    workspace.module("file", READS.replace("../inbox", "../one.csv"))
    workspace.file("one.csv", "x\n")
    workspace.module("apart", READS.replace("../inbox", str(tmp_path / "absent")))
    for flow, kind, code in (
        ("plain", FlowsteadError, "upload-no-source"),
        ("file", FlowsteadError, "upload-no-source"),
        ("apart", NotFound, "source-missing"),
        ("absent", FlowNotFound, "flow-not-found"),
        ("broken", FlowBroken, "module-error"),
    ):
        with pytest.raises(kind) as caught:
            client.upload(flow, "a.csv", io.BytesIO(b"x"))
        assert caught.value.code == code, flow
    assert not (tmp_path / "absent").exists() and (workspace.root / "one.csv").read_text() == "x\n"


def test_an_observer_brings_nothing(client: Client, served: Served, workspace: Any) -> None:
    other = MachineIdentity("another", "DESK-07", "boot", "node")
    assert Claims(SharedFolder(workspace.root / ".workspace_state")).put(
        Claim(1, 1, other, "", "daemon", 7, "0.1.0", now_us(), "test", 0, "none", "token")
    )
    with pytest.raises(WorkspaceOwned, match="DESK-07"):
        client.upload("reads", "a.csv", io.BytesIO(b"x"))
    assert not (workspace.root / "inbox").exists()


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_in_its_place_is_not_written_through(client: Client, workspace: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (workspace.root / "inbox").mkdir()
    (workspace.root / "inbox" / "a.csv").symlink_to(secret)
    for replace in (False, True):
        with pytest.raises(FlowsteadError):
            client.upload("reads", "a.csv", io.BytesIO(b"x"), replace=replace)
    assert secret.read_text() == "secret" and names(workspace.root / "inbox") == ["a.csv"]


def begin(begun: list[socket.socket], served: Served, name: str, length: int) -> socket.socket:
    """An upload whose head has been sent."""
    connection = served.connect("tcp")
    begun.append(connection)
    connection.sendall(
        f"POST /api/v1/workspaces/{served.key}/flows/reads/upload?file={name} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token}\r\n"
        f"Content-Length: {length}\r\n\r\n".encode()
    )
    return connection


def test_a_connection_that_breaks_off_leaves_nothing(
    client: Client, served: Served, workspace: Any, begun: list[socket.socket]
) -> None:
    inbox = workspace.root / "inbox"
    inbox.mkdir()
    connection = begin(begun, served, "a.csv", 5_000_000)
    connection.sendall(b"x" * 2_000_000)
    until(lambda: any(path.stat().st_size >= 1_000_000 for path in inbox.iterdir()), "it is being written")
    (part,) = names(inbox)
    assert part.startswith(PART_PREFIX) and part.endswith(PART_SUFFIX)
    connection.close()
    until(lambda: names(inbox) == [], "what came of it is removed")
    # Whoever goes on without it finds the name free.
    client.upload("reads", "a.csv", io.BytesIO(b"whole"))
    assert names(inbox) == ["a.csv"]


def test_a_daemon_that_ends_leaves_nothing(
    client: Client, served: Served, workspace: Any, begun: list[socket.socket]
) -> None:
    inbox = workspace.root / "inbox"
    inbox.mkdir()
    connection = begin(begun, served, "a.csv", 5_000_000)
    connection.sendall(b"x" * 2_000_000)
    until(lambda: any(path.stat().st_size >= 1_000_000 for path in inbox.iterdir()), "it is being written")
    served.server._server._grace = 0.1  # type: ignore[attr-defined]
    served.stop()
    until(lambda: names(inbox) == [], "what came of it is removed")


def test_what_a_crash_left_is_tidied_away_later(client: Client, workspace: Any) -> None:
    inbox = workspace.root / "inbox"
    inbox.mkdir()
    old, young = (inbox / f"{PART_PREFIX}{name}{PART_SUFFIX}" for name in ("old", "young"))
    for path in (old, young):
        path.write_text("x")
    os.utime(old, (time.time() - 86_400, time.time() - 86_400))
    client.upload("reads", "a.csv", io.BytesIO(b"x"))
    assert names(inbox) == [young.name, "a.csv"]


def test_a_slow_upload_goes_on_and_a_silent_one_ends(
    client: Client, served: Served, workspace: Any, begun: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SECONDS_FOR_REQUEST", 0.3)
    monkeypatch.setattr(server, "SECONDS_STALLED", 1.5)
    inbox = workspace.root / "inbox"
    inbox.mkdir()
    connection = begin(begun, served, "a.csv", 12)
    began = time.monotonic()
    for piece in range(12):
        connection.sendall(b"x")
        # Longer than a request may take, in pieces that come in time.
        while time.monotonic() < began + (piece + 1) * 0.1:
            threading.Event().wait(0.01)
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        assert (answer.status, names(inbox)) == (200, ["a.csv"])
    silent = begin(begun, served, "b.csv", 12)
    silent.sendall(b"x")
    until(lambda: len(names(inbox)) == 2, "it has begun")
    assert silent.recv(100) == b"", "hung up on"
    until(lambda: names(inbox) == ["a.csv"], "nothing is left of it")


def test_a_large_file_is_never_held_in_memory(client: Client, served: Served, workspace: Any) -> None:
    size = 64 << 20

    class Zeros(io.RawIOBase):
        left = size

        def read(self, count: int = -1) -> bytes:
            count = min(count, self.left)
            self.left -= count
            return bytes(count)

    client.upload("reads", "small.csv", io.BytesIO(b"x"))
    tracemalloc.start()
    try:
        answer = client.upload("reads", "large.csv", Zeros())  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer["size"] == (workspace.root / "inbox" / "large.csv").stat().st_size == size
    assert peak < 16 << 20


def test_a_refusal_reaches_whoever_is_still_sending(client: Client, served: Served, workspace: Any) -> None:
    size = 30 << 20
    with pytest.raises(UsageError) as caught:
        client.upload("reads", "a.txt", io.BytesIO(bytes(size)))
    assert caught.value.code == "upload-type-refused"
    # Other requests are as small as ever.
    answer = served.get(
        f"/api/v1/workspaces/{served.key}/flows/plain/start", method="POST", body=b" " * (2 << 20), **served.bearer
    )
    assert (answer.status, answer.code) == (413, "request-too-large")


def test_a_full_disk_is_told_and_leaves_nothing(
    client: Client, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    client.upload("reads", "a.csv", io.BytesIO(b"x"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        client.upload("reads", "b.csv", io.BytesIO(b"x"))
    assert caught.value.code == "disk-full" and names(workspace.root / "inbox") == ["a.csv"]


def test_without_a_daemon_it_is_the_same(home: Path, workspace: Any) -> None:
    workspace.module("reads", READS)
    with Client(embedded(workspace.root, command="test")) as client:
        assert client.upload("reads", "a.csv", io.BytesIO(b"abc"))["size"] == 3

        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            client.upload("reads", "b.csv", Broken())
    assert names(workspace.root / "inbox") == ["a.csv"]
