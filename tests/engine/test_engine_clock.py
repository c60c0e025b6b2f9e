"""Alarms, the inbox and logs by themselves."""

import errno
import json
import os
import queue

from engine_bench import DEADLINE

from flowstead.engine.clock import Alarms, Clock
from flowstead.engine.inbox import Inbox
from flowstead.engine.runlog import RunLog, read_lines


def test_alarms_go_on_after_a_callback_that_raises():
    failures: queue.Queue[Exception] = queue.Queue()
    done: queue.Queue[str] = queue.Queue()
    alarms = Alarms(Clock(), failures.put)
    alarms.set(0, lambda: 1 / 0)
    alarms.set(0.001, lambda: done.put("second"))
    assert isinstance(failures.get(timeout=DEADLINE), ZeroDivisionError)
    assert done.get(timeout=DEADLINE) == "second"
    alarms.close()


def test_alarms_come_in_order_and_forgotten_ones_never():
    done: queue.Queue[str] = queue.Queue()
    alarms = Alarms(Clock(), lambda error: None)
    alarms.set(0.03, lambda: done.put("later"))
    alarms.unset(alarms.set(0.01, lambda: done.put("forgotten")))
    first = alarms.set(0.02, lambda: done.put("sooner"))
    assert [done.get(timeout=DEADLINE) for _ in range(2)] == ["sooner", "later"]
    alarms.unset(first)
    alarms.unset(None)
    alarms.close()
    assert done.empty()


def test_forgotten_alarms_do_not_pile_up():
    alarms = Alarms(Clock(), lambda error: None)
    for _ in range(10_000):
        alarms.unset(alarms.set(3600, lambda: None))
    assert len(alarms._heap) < 200
    alarms.close()


def test_a_request_put_during_a_look_is_taken_by_the_next(tmp_path):
    inbox = Inbox(tmp_path)
    (tmp_path / ".beside").write_text("{}")
    before = tmp_path.stat()
    assert inbox.take() == []
    # The clock of the file system has not ticked since the folder last changed.
    (tmp_path / "request.json").write_text(json.dumps({"number": 1}))
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inbox.take() == [{"number": 1}]


def test_a_folder_at_rest_is_not_listed_again(tmp_path):
    inbox = Inbox(tmp_path)
    os.utime(tmp_path, (1, 1))
    assert inbox.take() == []
    (tmp_path / "request.json").write_text("{}")
    os.utime(tmp_path, (1, 1))  # unseen, for the time of the folder is what it was
    assert inbox.take() == []
    inbox.put({"number": 2})
    assert {"number": 2} in inbox.take()


def test_a_torn_tail_is_cut_off_and_its_number_used_again(tmp_path):
    log = RunLog(tmp_path, {"run_id": "r"})
    for number in range(3):
        log.add("log", f"line {number}")
    log.close()
    path = tmp_path / "events.ndjson"
    path.write_bytes(path.read_bytes()[:-5])
    log = RunLog(tmp_path, {"run_id": "r"})
    log.add("log", "again")
    log.close()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(line["seq"], line["message"]) for line in lines] == [(1, "line 0"), (2, "line 1"), (3, "again")]


def test_garbage_in_a_log_is_left_out_and_counted_past(tmp_path):
    log = RunLog(tmp_path, {})
    log.add("log", "first")
    log.close()
    path = tmp_path / "events.ndjson"
    with path.open("ab") as file:
        file.write(b"\0" * 5000 + b"\n" + b'{"seq": 99')
    log = RunLog(tmp_path, {})
    log.add("log", "second")
    log.close()
    assert [json.loads(line)["seq"] for line in read_lines(tmp_path)] == [1, 2]


def test_lines_that_a_full_disk_refused_are_written_later_from_the_byte_where_it_stopped(tmp_path):
    class Disk:
        def __init__(self, file):
            self.file, self.left = file, 40

        def write(self, data):
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = self.file.write(data[: self.left])
            self.left -= written
            return written

        def close(self):
            self.file.close()

    log = RunLog(tmp_path, {})
    log._file = disk = Disk(log._file)
    log.add("log", "first")
    try:
        log.flush()
    except OSError as error:
        assert error.errno == errno.ENOSPC
    disk.left = 10_000
    log.add("log", "second")
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "events.ndjson").read_bytes().splitlines()]
    assert [line["message"] for line in lines] == ["first", "second"]


def test_numbers_and_texts_that_json_does_not_know(tmp_path):
    log = RunLog(tmp_path, {})
    log.add("log", "half \ud800", data={"large": 2**70, "none": float("nan"), "path": tmp_path})
    log.add("log", "next")
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "events.ndjson").read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2]
    assert lines[0]["data"]["large"] == 2**70
