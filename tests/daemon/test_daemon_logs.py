"""Logs by line number and by what they say: right for every log, and as quick at its end as at its beginning."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some
from looking import Looking

from flowstead.engine import log_index, log_windows
from flowstead.engine.lines import encode
from flowstead.engine.log_index import BLOCK, INDEX_NAME, INDEXES
from flowstead.engine.log_windows import LineFilter, find_lines, position_after, read_window
from flowstead.engine.runlog import NAME, RunLog, lines_from
from flowstead.model.errors import NotFound, RunNotFound, UsageError


def line(seq: int, message: str = "", *, level: str = "info", step: str | None = None) -> bytes:
    context = {"run_id": "r_1", "flow": "f"} if step is None else {"run_id": "r_1", "flow": "f", "step": step}
    timestamp = "2026-11-21T15:11:57.418Z"
    facts = {"level": level, "event": "output", "message": message or f"line {seq}", "data": {}, "context": context}
    return encode({"seq": seq, "timestamp": timestamp, **facts})


def numbers(found: Any) -> list[int]:
    return [entry["line"] for entry in found.lines]


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A log of 30,000 lines, some 6 MB: longer than many blocks, and worth an index of its own."""
    with (tmp_path / NAME).open("wb") as file:
        for n in range(30_000):
            level = "error" if n % 10_000 == 77 else "warning" if n % 1000 == 5 else "info"
            file.write(line(n + 1, f"row {n} " + "x" * (n % 90), level=level, step="read" if n < 20_000 else "write"))
    return tmp_path


def test_a_window_anywhere_has_the_lines_that_stand_there(long: Path) -> None:
    assert (long / NAME).stat().st_size > 64 * BLOCK
    for start in (0, 1, 299, 12_345, 29_990, 29_999, 30_000, 99_999):
        window = read_window(long, start, 50)
        expected = list(range(start, min(start + 50, 30_000)))
        assert numbers(window) == expected and [entry["seq"] for entry in window.lines] == [n + 1 for n in expected]
        assert (window.start, window.end) == (min(start, 30_000), min(start + 50, 30_000))
        assert window.total == 30_000 and window.exact
    assert numbers(read_window(long, -3, 50)) == [29_997, 29_998, 29_999]
    assert numbers(read_window(long, -99_999, 2)) == [0, 1]


def test_whoever_follows_a_log_from_a_line_on_reads_no_line_before_it(long: Path) -> None:
    for seq in (0, 1, 12_345, 29_999, 30_000, 99_999):
        following = [orjson.loads(text)["seq"] for text, _ in lines_from(long, position_after(long, seq))]
        assert following == list(range(min(seq, 30_000) + 1, 30_001))
    assert position_after(long.parent, 7) == 0


def test_a_window_reads_what_it_shows_and_not_the_log(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_window(long, 0, 1)
    read: list[int] = []

    class Counting:
        def __init__(self, path: Path) -> None:
            self.file = open(path, "rb", buffering=0)  # noqa: SIM115

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *about: object) -> None:
            self.file.close()

        def read(self, size: int) -> bytes:
            data = self.file.read(size)
            read.append(len(data))
            return data

    monkeypatch.setattr(Path, "open", lambda path, *_, **__: Counting(path))
    assert numbers(read_window(long, 15_000, 100))[0] == 15_000
    assert sum(read) < 4 * BLOCK


def test_the_first_lines_do_not_wait_until_all_are_counted(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_windows, "SECONDS_TO_LOOK", 0.0)
    first = read_window(long, 0, 10)
    assert numbers(first) == list(range(10)) and not first.exact and 10 <= first.total < 30_000
    # What is asked for is waited for.
    assert numbers(read_window(long, 29_000, 2)) == [29_000, 29_001]
    assert read_window(long, 0, 10)[-2:] == (30_000, True)


def test_the_index_is_kept_beside_the_log_and_believed_only_while_it_fits(long: Path) -> None:
    read_window(long, -1, 1)
    kept = long / INDEX_NAME
    assert kept.exists()

    def afresh() -> int:
        INDEXES._found.clear()
        return read_window(long, -1, 1).total

    good = kept.read_bytes()
    assert afresh() == 30_000 and kept.read_bytes() == good
    for damaged in (b"", good[:20], good[:-8], good[:-1] + bytes([good[-1] ^ 1]), b"x" * len(good)):
        kept.write_bytes(damaged)
        assert afresh() == 30_000
        assert numbers(read_window(long, 12_345, 2)) == [12_345, 12_346]
    # Another log in its place, longer than the index says.
    kept.write_bytes(good)
    (long / NAME).write_bytes(b"".join(line(n, "another " + "y" * 200) for n in range(1, 40_001)))
    assert afresh() == 40_000
    assert numbers(read_window(long, 30_000, 1)) == [30_000]


def test_the_kept_index_is_used(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_window(long, -1, 1)
    INDEXES._found.clear()
    looked: list[int] = []
    whole_end = log_index._whole_end
    monkeypatch.setattr(
        log_index, "_whole_end", lambda file, size, start: looked.append(start) or whole_end(file, size, start)
    )
    read_window(long, -1, 1)
    assert looked[0] > 60 * BLOCK


def test_it_grows_with_the_log_and_leaves_out_a_torn_end(tmp_path: Path) -> None:
    log = RunLog(tmp_path, {"run_id": "r_1", "flow": "f"})
    for n in range(3000):
        log.add("output", f"line {n} " + "z" * 100)
        if n % 500 == 0:
            log.flush()
            assert read_window(tmp_path, -1, 1).lines[0]["message"].startswith(f"line {n} ")
    log.close()
    whole = (tmp_path / NAME).stat().st_size
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"seq": 3001, "mess' + b"a" * 3 * BLOCK)
    assert read_window(tmp_path, -1, 1).total == 3000
    # The next to write cuts it off, and goes on there.
    log = RunLog(tmp_path, {"run_id": "r_1", "flow": "f"})
    assert (tmp_path / NAME).stat().st_size == whole
    for n in range(3000, 6000):
        log.add("output", f"line {n} " + "z" * 100)
    log.close()
    window = read_window(tmp_path, 2999, 3)
    assert [entry["seq"] for entry in window.lines] == [3000, 3001, 3002] and window.total == 6000


def test_a_damaged_line_is_left_out_and_keeps_its_number(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(line(1) + b"\0\0\0{}\n" + b"[1]\n" + b"{}\n" + line(2))
    window = read_window(tmp_path, 0, 10)
    assert (numbers(window), window.total) == ([0, 4], 5)
    assert numbers(find_lines(tmp_path, LineFilter(text="LINE 2"))) == [4]


def test_a_line_may_be_longer_than_an_answer(tmp_path: Path) -> None:
    long = "a" * (3 << 20)
    (tmp_path / NAME).write_bytes(line(1) + line(2, long) + line(3, "needle " + long) + line(4))
    assert numbers(read_window(tmp_path, 0, 10))[:1] == [0]
    window = read_window(tmp_path, 1, 10)
    assert numbers(window) == [1] and window.end == 2 and window.lines[0]["message"] == long
    for backward in (False, True):
        assert numbers(find_lines(tmp_path, LineFilter(text="needle"), backward=backward, seconds=9)) == [2]


def test_a_run_without_a_log_has_no_lines(tmp_path: Path) -> None:
    assert read_window(tmp_path, -10, 10) == ([], 0, 0, 0, True)
    assert find_lines(tmp_path, LineFilter(text="a")) == ([], 0, 0, None, 0)


FILTERS = [
    LineFilter(level="error"),
    LineFilter(level="warning"),
    LineFilter(level="debug"),
    LineFilter(step="write"),
    LineFilter(text="ROW 123"),
    LineFilter(text="row 29999"),
    LineFilter(text="nothing like it"),
    LineFilter(step="read", level="warning", text="row 19"),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
@pytest.mark.parametrize("seconds", [0.0, 9.0], ids=["piece by piece", "at once"])
def test_what_matches_is_found_in_both_directions(long: Path, wanted: LineFilter, seconds: float) -> None:
    parsed = enumerate(orjson.loads(text) for text in (long / NAME).read_bytes().splitlines())
    expected = [number for number, entry in parsed if wanted.matches(entry)]
    forward: list[int] = []
    start: int | None = 0
    while start is not None:
        hits = find_lines(long, wanted, start=start, limit=900, seconds=seconds)
        assert hits.looked_from == start and hits.looked_to > start
        assert all(hits.looked_from <= number < hits.looked_to for number in numbers(hits))
        forward += numbers(hits)
        start = hits.next
    assert forward == expected
    backward: list[int] = []
    start = 30_000
    while start is not None:
        hits = find_lines(long, wanted, start=start, backward=True, limit=900, seconds=seconds)
        assert hits.looked_to == start and hits.looked_from < start
        backward[:0] = numbers(hits)
        start = hits.next
    assert backward == expected


TEXTS = some.text(some.characters(exclude_categories=("Cs",)), max_size=12)


@given(messages=some.lists(TEXTS, min_size=1, max_size=8), data=some.data())
def test_whatever_stands_in_a_message_is_found_by_its_parts(
    tmp_path_factory: pytest.TempPathFactory, messages: list[str], data: some.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    (folder / NAME).write_bytes(b"".join(line(n, message or "-") for n, message in enumerate(messages, 1)))
    number = data.draw(some.integers(0, len(messages) - 1))
    message = messages[number] or "-"
    begin = data.draw(some.integers(0, len(message) - 1))
    part = message[begin : data.draw(some.integers(begin + 1, len(message)))]
    expected = [n for n, each in enumerate(messages) if part.lower() in (each or "-").lower()]
    assert number in expected or part.lower() not in message.lower()
    assert numbers(find_lines(folder, LineFilter(text=part), seconds=9)) == expected


def test_readers_of_one_log_do_not_disturb_each_other(long: Path) -> None:
    wrong: list[Any] = []

    def read(seed: int) -> None:
        for n in range(40):
            start = (seed * 7919 + n * 1013) % 29_000
            if numbers(read_window(long, start, 20)) != list(range(start, start + 20)):
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


FLOW = """
    from flowstead import Flow

    def build():
        return Flow("G").step(first).step(second)

    def first(context):
        for n in range(50):
            print("line", n)

    def second(context):
        context.log.warning("careful: Ärger")
        print("done")
"""


def test_the_routes_show_search_and_hand_out_the_log_of_a_run(looking: Looking, workspace: Any) -> None:
    workspace.module("prints", FLOW)
    run_id = looking.run("prints")
    path = f"/runs/{run_id}/log"
    window = looking.call("GET", f"{path}/lines", start=-1, limit=1)
    assert window["lines"][0]["event"] == "run.finished" and window["exact"]
    hits = looking.call("GET", f"{path}/search", text="LINE 4", step="first")
    assert [entry["message"] for entry in hits["lines"]] == ["line 4", *(f"line {n}" for n in range(40, 50))]
    (warning,) = looking.call("GET", f"{path}/search", level="warning")["lines"]
    assert warning["message"] == "careful: Ärger" and warning["context"]["step"] == "second"
    assert looking.call("GET", f"{path}/search", text="ärger")["lines"] == [warning]
    as_written = looking.call("GET", f"{path}/download")
    with as_written.open() as file:
        assert file.read() == (looking.host.layout.run_folder(run_id) / NAME).read_bytes()
    as_text = looking.call("GET", f"{path}/download", format="text")
    with as_text.open() as file:
        lines = file.read().decode().splitlines()
    as_text.sent()
    assert len(lines) == window["total"] and not as_text.path.exists()
    assert any("second" in text and text.endswith("careful: Ärger") for text in lines)
    assert as_text.headers["Content-Disposition"].startswith('attachment; filename="prints-')


def test_what_is_asked_for_wrongly_is_told(looking: Looking, workspace: Any) -> None:
    workspace.module("prints", FLOW)
    run_id = looking.run("prints")
    for fields in ({"limit": 0}, {"limit": 99_999}):
        with pytest.raises(UsageError, match="limit is"):
            looking.call("GET", f"/runs/{run_id}/log/lines", **fields)
    with pytest.raises(UsageError, match="There is no level 'loud'"):
        looking.call("GET", f"/runs/{run_id}/log/search", level="loud")
    with pytest.raises(RunNotFound):
        looking.call("GET", "/runs/r_none/log/lines")
    os.remove(looking.host.layout.run_folder(run_id) / NAME)
    with pytest.raises(NotFound, match="has no log"):
        looking.call("GET", f"/runs/{run_id}/log/download")
