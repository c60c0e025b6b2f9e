"""Rows about what is waited for: a worker that stands ready, and a run that goes on after a crash."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles

from bench.floors import BARE_PYTHON, LONGEST_PROCESS, flowstead, seconds
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.workspaces import Workspace, await_ends, requests, seconds_to_end
from flowstead.engine.engine import Engine
from flowstead.ledger import LedgerReader
from flowstead.model.run import now_us
from flowstead.workspace.layout import WorkspaceLayout

# Long enough for both sides to fall asleep again, as they would between two clicks.
SECONDS_BETWEEN_STARTS = 0.005

FIRST_LINE = """
    import time

    from flowstead import Flow

    def build():
        return Flow("Bench").step(note)

    def note(context):
        context.summary = str(time.perf_counter_ns())
"""

_WAKER = """
import socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while connection.recv(1):
        connection.sendall(time.perf_counter_ns().to_bytes(8, "big"))
"""

_KILLED = """
    import time
    from pathlib import Path

    from flowstead import Flow

    def build():
        return Flow("Bench").step(before).step(interrupted).step(after)

    def before(context):
        return 1

    def interrupted(context):
        if context.attempt == 1:
            Path("../reached").touch()
            time.sleep(600)
        return 2

    def after(context):
        return 3
"""


def warm_start(setting: Setting) -> Samples:
    return _starts(setting, FIRST_LINE)


def warm_start_in_environment(setting: Setting) -> Samples:
    return _starts(setting, _with_libraries())


def start_without_worker(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    workspace.module("first_line", _with_libraries())
    with workspace.engine(warm_workers=0) as engine:
        python = _prepared(engine)
        while True:
            (request,) = requests(engine, ["first_line"])
            begun, clock = now_us(), time.perf_counter_ns()
            engine.start_run(request)
            await_ends(engine, begun, 1)
            took = (int(engine.ledger.reader.run(request.id).summary or 0) - clock) / 1e6
            yield (Sample(took, seconds([str(python), "-c", "import duckdb, polars"]) * 1e3),)


def _with_libraries() -> str:
    """The flow, in an environment of its own with Polars and DuckDB, both imported."""
    needs = [f"{name}=={version(name)}" for name in ("polars", "duckdb")]
    block = f"# /// script\n# dependencies = {json.dumps(needs)}\n# ///\nimport duckdb\nimport polars\n"
    return block + textwrap.dedent(FIRST_LINE)


def _prepared(engine: Engine) -> Path | None:
    """Waits for the flow's environment, where it has one; its interpreter."""
    path = engine.catalog.path("first_line")
    wanted = engine.environments.find(path, path.read_bytes()).wanted
    if wanted is None:
        return None
    build = engine.environments.request(wanted)
    build.wait()
    if build.environment is None:
        raise RuntimeError(build.error)
    return build.environment.python


def _starts(setting: Setting, source: str) -> Samples:
    starts = setting.size(200, 50)
    workspace = Workspace(setting.folder)
    workspace.module("first_line", source)
    with workspace.engine() as engine, sleeper() as connection:
        _prepared(engine)
        while True:
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(starts):
                (request,) = requests(engine, ["first_line"])
                begun, clock = now_us(), time.perf_counter_ns()
                engine.start_run(request)
                await_ends(engine, begun, 1)
                ours.append((int(engine.ledger.reader.run(request.id).summary or 0) - clock) / 1e6)
                time.sleep(SECONDS_BETWEEN_STARTS)
                clock = time.perf_counter_ns()
                connection.sendall(b"!")
                bare.append((int.from_bytes(connection.recv(8), "big") - clock) / 1e6)
                time.sleep(SECONDS_BETWEEN_STARTS)
            ours_at, bare_at = quantiles(ours, n=20), quantiles(bare, n=20)
            yield Sample(ours_at[9], bare_at[9]), Sample(ours_at[18], bare_at[18])


@contextmanager
def sleeper() -> Iterator[socket.socket]:
    """A connection to a process that waits for a byte and answers with its clock's nanoseconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LONGEST_PROCESS)
        with subprocess.Popen([sys.executable, "-c", _WAKER, str(server.getsockname()[1])]):
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield connection


def resume(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    workspace.module("killed", _KILLED)
    reader = LedgerReader(WorkspaceLayout.of(workspace.root).ledger)
    reached = workspace.root / "reached"
    while True:
        reached.unlink(missing_ok=True)
        with subprocess.Popen(
            flowstead("run", "killed"), cwd=workspace.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            _await_file(reached, process)
            process.kill()
        begun = now_us()
        seconds(flowstead("run", "killed"), cwd=workspace.root)
        yield (Sample(seconds_to_end(reader, begun, 1) * 1e3, seconds(BARE_PYTHON) * 1e3),)


def _await_file(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_PROCESS
    while not path.exists():
        if process.poll() is not None:
            raise RuntimeError("The run ended before it could be killed.")
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError("The run did not reach its second step.")
        time.sleep(0.005)


MEASUREMENTS = (
    Measurement(
        (
            Row("warm-start", "enqueue to the first line of user code, p50 of 200", "ms", "socket wake, p50", Reach(3)),
            Row("warm-start-p95", "the same, p95", "ms", "socket wake, p95", Reach(10)),
        ),
        warm_start,
    ),
    Measurement(
        (
            Row(
                "env-start",
                "the same in an environment of its own with Polars and DuckDB imported, p50",
                "ms",
                "socket wake, p50",
                Reach(3),
            ),
            Row("env-start-p95", "the same, p95", "ms", "socket wake, p95", Reach(10)),
        ),
        warm_start_in_environment,
    ),
    Measurement(
        (
            Row(
                "env-load",
                "the same when no worker waits: one is started, and imports them",
                "ms",
                "python -c 'import duckdb, polars'",
                Reach(150, above_floor=True),
            ),
        ),
        start_without_worker,
        per_run=2,
    ),
    Measurement(
        (
            Row(
                "resume",
                "kill -9 in step 2 of 3: start of the next process to the run's end",
                "ms",
                "bare python",
                Reach(1000),
            ),
        ),
        resume,
        per_run=2,
    ),
)
