"""Damaged and hostile files, and children that hang, crash or take too much: each is told, and the next one works."""

from __future__ import annotations

import gzip
import os
import random
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from looking import SECONDS, Looking, people

from flowstead.daemon.files import reader
from flowstead.daemon.files.readers import Readers
from flowstead.daemon.files.sources import table_file
from flowstead.model.errors import FlowsteadError

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"
ENDLESS = "SELECT count(*) FROM range(1_000_000) a, range(1_000_000) b WHERE (a.range * b.range) % 7 = 3"
GREEDY = "SELECT len(list(range)) FROM range(2_000_000_000)"


@pytest.fixture
def readers(home: Path) -> Iterator[Readers]:
    readers = Readers()
    yield readers
    pids = readers.pids
    readers.close()
    for pid in pids:
        assert gone(pid)


def gone(pid: int) -> bool:
    """Waits until a process has ended, with all its threads."""
    deadline = time.monotonic() + SECONDS
    while _lives(pid):
        assert time.monotonic() < deadline, f"{pid} still lives"
        time.sleep(0.01)
    return True


def _lives(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # somebody else's, or reaped already
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def until_asked(readers: Readers) -> int:
    """The child that has been given a question."""
    deadline = time.monotonic() + SECONDS
    while not readers.pids:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return readers.pids[0]


def sql(text: str) -> dict[str, Any]:
    return {"about": "sql", "sql": text, "limit": 10, "tables": []}


class Asking(threading.Thread):
    """A question asked from another thread; `outcome` is its answer, or the error."""

    def __init__(self, readers: Readers, question: dict[str, Any], **fields: Any) -> None:
        super().__init__(daemon=True)
        self._ask = lambda: readers.ask(question, **{"memory_mb": 1024, **fields})
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._ask()
        except FlowsteadError as error:
            self._outcome = error

    @property
    def outcome(self) -> Any:
        self.join(SECONDS)
        assert not self.is_alive()
        return self._outcome


# -- files ---------------------------------------------------------------------------------------------------------


def refused(looking: Looking, path: str, *codes: str) -> FlowsteadError:
    with pytest.raises(FlowsteadError) as caught:
        looking.page(path)
    assert caught.value.code in (codes or ("file-unreadable",)), caught.value.message
    assert "/proc/self" not in caught.value.message
    problem = looking.info(path)["problem"]
    assert problem is not None and problem["code"] == caught.value.code
    return caught.value


@pytest.fixture
def sound(looking: Looking, workspace: Any) -> Iterator[None]:
    """A sound file is read before and after."""
    people().write_parquet(workspace.root / "sound.parquet")
    assert looking.page("sound.parquet")["total"] == 5
    yield
    assert looking.page("sound.parquet")["total"] == 5


ENDINGS = ["parquet", "csv", "tsv", "csv.gz", "xlsx", "xls", "arrow", "arrows", "feather", "json", "ndjson", "duckdb"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_garbage_is_told_as_such(looking: Looking, workspace: Any, sound: None, ending: str) -> None:
    chance = random.Random(3)
    for number, content in enumerate([b"", b"\0", b"PAR1", b"ARROW1\0\0", chance.randbytes(5000), b"\0" * 100_000]):
        path = workspace.root / f"{number}.{ending}"
        path.write_bytes(content)
        try:
            fields = {"table": "t"} if ending == "duckdb" else {}
            answer = looking.page(path.name, **fields)
        except FlowsteadError as error:
            assert error.code in ("file-unreadable", "not-a-table", "table-not-found", "table-not-named"), error.message
        else:
            assert ending in ("csv", "tsv", "csv.gz", "json", "ndjson"), answer


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather", "xlsx", "duckdb"])
def test_a_cut_file_is_told_as_such(looking: Looking, workspace: Any, sound: None, ending: str) -> None:
    frame = pl.DataFrame({"a": range(20_000), "b": [f"text {number}" for number in range(20_000)]})
    whole = workspace.root / f"whole.{ending}"
    match ending:
        case "parquet":
            frame.write_parquet(whole, row_group_size=1000)
        case "xlsx":
            frame.head(500).write_excel(whole)
        case "duckdb":
            import duckdb

            with duckdb.connect(str(whole)) as connection:
                connection.register("frame", frame)
                connection.execute("CREATE TABLE t AS FROM frame")
        case _:
            frame.write_ipc(whole, compression="zstd" if ending == "feather" else "uncompressed")
    data = whole.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        (workspace.root / f"cut.{ending}").write_bytes(data[: int(len(data) * share)])
        try:
            looking.page(f"cut.{ending}", **({"table": "t"} if ending == "duckdb" else {}))
        except FlowsteadError as error:
            assert error.code in ("file-unreadable", "preview-crashed", "table-not-found"), error.message
        else:
            # A database's last blocks may be free ones.
            assert ending == "duckdb" and share > 0.5


def test_bytes_changed_within_a_parquet_file(looking: Looking, workspace: Any, sound: None) -> None:
    chance = random.Random(5)
    people().write_parquet(workspace.root / "whole.parquet")
    data = (workspace.root / "whole.parquet").read_bytes()
    for _ in range(40 if COMPLETE_RUN else 15):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 8)):
            changed[chance.randrange(4, len(changed) - 8)] = chance.randrange(256)
        (workspace.root / "changed.parquet").write_bytes(changed)
        try:
            looking.page("changed.parquet")
            looking.statistics("changed.parquet")
        except FlowsteadError as error:
            assert error.code in ("file-unreadable", "preview-crashed", "preview-memory"), error.message


def test_a_gigabyte_of_nothing(looking: Looking, workspace: Any, sound: None) -> None:
    with (workspace.root / "zeros.csv").open("wb") as file:
        file.truncate(1 << 30)
    refused(looking, "zeros.csv")
    assert looking.call("GET", "/files/text", path="zeros.csv", offset=1 << 29, limit=100)["text"] == "\0" * 100


def test_a_workbook_that_swells(looking: Looking, workspace: Any, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "settings.toml").write_text("preview_memory_mb = 512")
    with zipfile.ZipFile(workspace.root / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for _ in range(260):
                sheet.write(b"0" * (1 << 20))
    assert (workspace.root / "bomb.xlsx").stat().st_size < 3 << 20
    assert refused(looking, "bomb.xlsx", "file-too-large").message.count("MB") == 1


def test_a_zipped_csv_that_swells(looking: Looking, workspace: Any, readers: Readers) -> None:
    with gzip.open(workspace.root / "bomb.csv.gz", "wb", compresslevel=1) as file:
        for _ in range(150):
            file.write(b"1,2\n" * (1 << 18))
    question = {"about": "page", "offset": 0, "limit": 10, "file": table_file(looking.host, path="bomb.csv.gz")}
    outcome = Asking(readers, question, seconds=1.0, memory_mb=512).outcome
    assert isinstance(outcome, FlowsteadError)
    assert outcome.code in ("preview-timeout", "preview-memory")
    assert readers.ask(sql("SELECT 1"), memory_mb=512)["rows"] == [[1]]


def test_a_file_that_is_replaced_all_the_time(looking: Looking, workspace: Any) -> None:
    versions = [pl.DataFrame({"a": [number] * 1000}) for number in range(8)]
    over = threading.Event()

    def replace() -> None:
        number = 0
        while not over.is_set():
            number += 1
            versions[number % 8].write_parquet(workspace.root / "next.parquet")
            (workspace.root / "next.parquet").replace(workspace.root / "moving.parquet")

    versions[0].write_parquet(workspace.root / "moving.parquet")
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(30 if COMPLETE_RUN else 12):
            rows = looking.page("moving.parquet", limit=1000)["rows"]
            assert len(rows) == 1000 and len({row[0] for row in rows}) == 1
    finally:
        over.set()
        thread.join()


def test_a_file_that_becomes_shorter_while_it_is_open(looking: Looking, workspace: Any, sound: None) -> None:
    frame = pl.DataFrame({"a": range(200_000)})
    for ending in ("parquet", "arrow"):
        path = workspace.root / f"shrinking.{ending}"
        frame.write_parquet(path) if ending == "parquet" else frame.write_ipc(path)
        assert looking.page(path.name, offset=199_990)["rows"][-1] == [199_999]
        os.truncate(path, 5000)
        refused(looking, path.name, "file-unreadable", "preview-crashed")


# -- children ------------------------------------------------------------------------------------------------------


def test_a_child_stays_warm_and_ends_when_nobody_asks(home: Path) -> None:
    readers = Readers(seconds_warm=1.0)
    try:
        assert readers.ask(sql("SELECT 1"), memory_mb=1024)["rows"] == [[1]]
        (pid,) = readers.pids
        scratch = next((home / "previews").iterdir())
        assert readers.ask(sql("SELECT 2"), memory_mb=1024)["rows"] == [[2]]
        assert readers.pids in ([pid], [])
        assert gone(pid)
        deadline = time.monotonic() + SECONDS
        while scratch.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert readers.pids == []
        assert readers.ask(sql("SELECT 3"), memory_mb=1024)["rows"] == [[3]]
    finally:
        readers.close()


def test_a_killed_child_is_told_and_replaced(readers: Readers) -> None:
    asking = Asking(readers, sql(ENDLESS))
    os.kill(until_asked(readers), signal.SIGKILL)
    assert asking.outcome.code == "preview-crashed"
    assert readers.ask(sql("SELECT 1"), memory_mb=1024)["rows"] == [[1]]
    (idle,) = readers.pids
    os.kill(idle, signal.SIGKILL)
    assert readers.ask(sql("SELECT 2"), memory_mb=1024)["rows"] == [[2]]


def test_what_is_left_of_earlier_questions_fails_no_later_one(readers: Readers) -> None:
    assert readers.ask(sql("SELECT 1"), memory_mb=1024)["rows"] == [[1]]
    (warm,) = readers.pids
    asking = Asking(readers, sql(f"{ENDLESS} AND a.range < 3000 AND b.range < 30_000"), seconds=SECONDS)
    os.kill(warm, signal.SIGKILL)
    assert len(asking.outcome["rows"]) == 1
    assert readers.pids != [warm]


def test_what_takes_too_long_is_stopped_and_the_child_goes_on(readers: Readers) -> None:
    readers.ask(sql("SELECT 1"), memory_mb=1024)
    pids = readers.pids
    assert Asking(readers, sql(ENDLESS), seconds=0.5).outcome.code == "preview-timeout"
    assert readers.ask(sql("SELECT 1"), memory_mb=1024)["rows"] == [[1]]
    assert readers.pids == pids


def test_a_child_that_hangs_is_killed(readers: Readers) -> None:
    readers.ask(sql("SELECT 1"), memory_mb=1024)
    (pid,) = readers.pids
    os.kill(pid, signal.SIGSTOP)
    assert Asking(readers, sql("SELECT 2"), seconds=0.3).outcome.code == "preview-timeout"
    assert gone(pid)
    assert readers.ask(sql("SELECT 3"), memory_mb=1024)["rows"] == [[3]]


def test_what_takes_too_much_memory_is_told(readers: Readers) -> None:
    for text in (
        GREEDY,
        "SELECT repeat('x', 4_000_000_000)",
        "SELECT string_agg(repeat('x', 1000), '') FROM range(10_000_000)",
    ):
        outcome = Asking(readers, sql(text), memory_mb=512, seconds=30.0).outcome
        assert isinstance(outcome, FlowsteadError) and outcome.code in ("preview-memory", "sql-failed"), outcome
        assert readers.ask(sql("SELECT 1"), memory_mb=512)["rows"] == [[1]]


def test_a_child_never_grows_beyond_its_memory(readers: Readers) -> None:
    asking = Asking(readers, sql(GREEDY), memory_mb=512, seconds=30.0)
    pid = until_asked(readers)
    most = 0
    while asking.is_alive():
        try:
            most = max(most, psutil.Process(pid).memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.005)
    assert asking.outcome.code == "preview-memory"
    assert 0 < most < 700 << 20
    # Whatever else than DuckDB takes memory is held back by the system.
    readers.ask(sql("SELECT 1"), memory_mb=512)
    assert psutil.Process(readers.pids[0]).rlimit(psutil.RLIMIT_DATA) == (1 << 30, 1 << 30)


def test_memory_is_watched_from_outside(readers: Readers, monkeypatch: Any) -> None:
    readers.ask(sql("SELECT 1"), memory_mb=512)
    (pid,) = readers.pids
    assert 10 << 20 < reader.memory_of(pid) < 512 << 20
    monkeypatch.setattr(reader, "memory_of", lambda pid: 513 << 20)
    begun = time.monotonic()
    assert Asking(readers, sql(ENDLESS), memory_mb=512, seconds=SECONDS).outcome.code == "preview-memory"
    assert time.monotonic() - begun < SECONDS
    assert gone(pid)


def test_a_newer_question_of_a_view_takes_the_place_of_the_older(readers: Readers) -> None:
    older = Asking(readers, sql(ENDLESS), view="page")
    until_asked(readers)
    assert readers.ask(sql("SELECT 1"), memory_mb=1024, view="page")["rows"] == [[1]]
    assert older.outcome.code == "preview-superseded"
    # Others are not concerned.
    other = Asking(readers, sql(ENDLESS), view="a", seconds=0.7)
    until_asked(readers)
    readers.ask(sql("SELECT 1"), memory_mb=1024, view="b")
    assert other.outcome.code == "preview-timeout"


def test_many_questions_of_one_view_leave_the_last(readers: Readers) -> None:
    asked: list[Asking] = []
    for number in range(20):
        asked.append(Asking(readers, sql(ENDLESS), view="scrolling"))
        time.sleep(0.002 * (number % 3))
    # Race: a thread may come to ask only after a later one; all but the newest question end by themselves.
    deadline = time.monotonic() + SECONDS
    while sum(each.is_alive() for each in asked) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    last = readers.ask(sql("SELECT 7"), memory_mb=1024, view="scrolling")
    assert last["rows"] == [[7]]
    outcomes = [each.outcome for each in asked]
    assert {outcome.code for outcome in outcomes} == {"preview-superseded"}
    assert len(readers.pids) <= 2


def test_two_long_ones_make_a_third_wait_but_not_for_ever(readers: Readers) -> None:
    long = [Asking(readers, sql(ENDLESS), seconds=8.0, view=str(number)) for number in range(2)]
    deadline = time.monotonic() + SECONDS
    while len(readers.pids) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert Asking(readers, sql("SELECT 1"), seconds=0.2).outcome.code == "preview-busy"
    third = Asking(readers, sql("SELECT 3"), seconds=60.0)
    for number in range(2):
        assert readers.ask(sql("SELECT 1"), memory_mb=1024, seconds=60.0, view=str(number))["rows"] == [[1]]
    assert third.outcome["rows"] == [[3]]
    assert {each.outcome.code for each in long} == {"preview-superseded"}


def test_closing_ends_what_is_under_way(home: Path) -> None:
    readers = Readers()
    asking = Asking(readers, sql(ENDLESS))
    pid = until_asked(readers)
    readers.close()
    assert isinstance(asking.outcome, FlowsteadError)
    assert gone(pid)
    assert list((home / "previews").iterdir()) == []


def test_a_child_ends_with_whoever_asked_it(home: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import threading\n"
            "from flowstead.daemon.files.readers import READERS\n"
            f"question = {sql(ENDLESS)!r}\n"
            "ask = lambda: READERS.ask(question, memory_mb=1024, seconds=600)\n"
            "threading.Thread(target=ask, daemon=True).start()\n"
            "while not READERS.pids: pass\n"
            "print(READERS.pids[0], flush=True)\n"
            "threading.Event().wait()\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert gone(pid)
    # What it left behind is removed by the next one.
    assert list((home / "previews").iterdir()) != []
    readers = Readers()
    try:
        readers.ask(sql("SELECT 1"), memory_mb=1024)
        assert [entry.name.partition("-")[0] for entry in (home / "previews").iterdir()] == [str(os.getpid())]
    finally:
        readers.close()


def test_the_daemon_never_loads_what_reads_tables(looking: Looking, workspace: Any) -> None:
    import subprocess
    import sys

    people().write_parquet(workspace.root / "people.parquet")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from flowstead.daemon.files.readers import READERS\n"
        "from flowstead.daemon.routes import files\n"
        "from flowstead.daemon.workspace_host import WorkspaceHost\n"
        f"host = WorkspaceHost(Path({str(workspace.root)!r}), command='test')\n"
        "assert files.table_page(host, path='people.parquet')['total'] == 5\n"
        "assert files.table_statistics(host, path='people.parquet')['rows'] == 5\n"
        "files.export_table(host, path='people.parquet', format='xlsx').sent()\n"
        "READERS.close()\n"
        "print(sorted({'polars', 'duckdb', 'pyarrow', 'fastexcel', 'xlsxwriter'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
