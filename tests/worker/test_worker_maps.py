"""Maps in a worker: order, threads, failures of items, what is recorded of each and when, and going on later."""

import json

import pytest

DEADLINE = 20


def rows(frames: list[dict], step: int = 1) -> list[list]:
    return [row for frame in frames if frame["type"] == "items" and frame["step"] == step for row in frame["rows"]]


def result(frames: list[dict], step: int = 2) -> object:
    """What the step after the map returned, which is `context.current` in a form that JSON has."""
    frame = next(frame for frame in frames if frame["type"] == "step_finished" and frame["step"] == step)
    return json.loads(json.loads(frame["checkpoint"])["text"])


def a_map(
    body: str, given: str = "list(range(5))", options: str = "", takes: str = "item", show: str = "list(c.current)"
):
    """A flow of three steps and an end: items, the map under test, and what came of it."""
    return f"""
def each({takes}):
    {body}
def build():
    return (Flow("g").step(lambda c: {given}).map(each, label="Each"{options and ", " + options})
            .step(lambda c: {show}).step(lambda c: None))
"""


@pytest.mark.parametrize("workers", [1, 4])
def test_order_is_kept_and_every_item_is_recorded_once(worker, workers):
    started = worker(a_map("return item * 10", "list(range(1000))", f"workers={workers}")).ready()
    frames = started.conduct()
    assert result(frames) == [item * 10 for item in range(1000)]
    recorded = rows(frames)
    assert sorted(row[0] for row in recorded) == list(range(1000)), "each once"
    assert all(row[1] == "succeeded" and row[3] == str(row[0] * 10) and row[4] is None for row in recorded)
    told = [frame for frame in frames if frame["type"] == "items"]
    assert all(len(frame["rows"]) <= 100 for frame in told)
    assert (told[0]["rows"], told[0]["done"], told[0]["total"]) == ([], 0, 1000)
    assert (told[-1]["done"], told[-1]["failed"]) == (1000, 0)
    assert [frame["done"] for frame in told] == sorted(frame["done"] for frame in told)


def test_threads_work_at_the_same_time(worker):
    body = "meeting.wait(20); return threading.current_thread().name"
    started = worker(
        a_map(body, options="workers=5", show="len(set(c.current))") + "meeting = threading.Barrier(5)"
    ).ready()
    assert result(started.conduct()) == 5


def test_lines_that_threads_print_side_by_side_stay_whole(worker):
    begun, ended = "sys.stdout.write(f'{item} begun, ')", "print('and', 'ended')"
    body = f"{begun}; meeting.wait(20); {ended}; meeting.wait(20); print(item, end='')"
    started = worker(a_map(body, options="workers=5") + "import sys\nmeeting = threading.Barrier(5)").ready()
    *lines, rest = started.conduct()[-1]["printed"].splitlines()
    assert sorted(lines) == [f"{item} begun, and ended" for item in range(5)]
    assert sorted(rest) == list("01234"), "what no line end follows is not lost"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("[]", "map-empty"),
        ("Batch([])", "map-empty"),
        ("(n for n in ())", "map-empty"),
        ("None", "map-not-iterable"),
        ("3", "map-not-iterable"),
        ("'text'", "map-not-iterable"),
        ("b'bytes'", "map-not-iterable"),
        ("{'a': 1}", "map-not-iterable"),
    ],
)
def test_what_no_map_takes(worker, given, code):
    last = worker(a_map("return 1", given)).ready().conduct()[-1]
    assert (last["step"], last["ends"], last["error"]["code"]) == (1, "failed", code)
    assert last["error"]["hint"]


@pytest.mark.parametrize("given", ["(1, 2)", "Batch([1, 2])", "(n for n in (1, 2))", "range(1, 3)"])
def test_what_a_map_takes(worker, given):
    assert result(worker(a_map("return item", given)).ready().conduct()) == [1, 2]


def test_the_context_is_given_to_a_function_of_two(worker):
    started = worker(a_map("return context.idempotency_key", takes="context, item")).ready()
    assert result(started.conduct()) == [f"r_1:1:{n}" for n in range(5)]


# -- failures of items ------------------------------------------------------------------------------------------

THIRD_FAILS = "return 6 // (item - 3)"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failed_item_fails_the_step_and_keeps_what_was_done(worker, workers):
    started = worker(a_map(THIRD_FAILS, options=f"workers={workers}")).ready()
    frames = started.conduct()
    error = frames[-1]["error"]
    assert (error["code"], error["type"]) == ("map-item-failed", "ZeroDivisionError")
    assert "Item 3 (3) failed: ZeroDivisionError" in error["message"] and error["source"] == THIRD_FAILS
    recorded = {row[0]: row[1] for row in rows(frames)}
    assert recorded[3] == "failed" and all(recorded[n] == "succeeded" for n in range(3))
    described = json.loads(next(row[4] for row in rows(frames) if row[0] == 3))
    assert (described["code"], described["line"]) == ("item-failed", error["line"])
    assert [frame["failed"] for frame in frames if frame["type"] == "items"][-1] == 1


def test_failed_items_can_be_collected(worker):
    show = "[(r.ok, r.index, r.item, r.value, type(r.error).__name__, r.status) for r in c.current]"
    frames = (
        worker(a_map(THIRD_FAILS, options='on_error="collect"', show=f"[list(r) for r in {show}]")).ready().conduct()
    )
    found = result(frames)
    assert found[3] == [False, 3, 3, None, "ZeroDivisionError", "failed"]
    assert found[4] == [True, 4, 4, 6, "NoneType", "succeeded"]
    assert [row[1] for row in rows(frames)] == ["succeeded"] * 3 + ["failed", "succeeded"]


def test_failed_items_can_be_left_out(worker):
    frames = worker(a_map(THIRD_FAILS, options='on_error="skip"')).ready().conduct()
    assert result(frames) == [-2, -3, -6, 6]
    assert [row[1] for row in rows(frames)] == ["succeeded"] * 3 + ["failed", "succeeded"]


def test_none_is_a_value_and_not_left_out(worker):
    frames = worker(a_map("return None", options='on_error="skip"')).ready().conduct()
    assert result(frames) == [None] * 5


@pytest.mark.parametrize("raised", ["SystemExit(3)", "Panic()", "Mute()"])
def test_whatever_an_item_raises(worker, raised):
    classes = """
class Panic(BaseException): pass
class Mute(Exception):
    def __str__(self): raise ValueError
class Item:
    @property
    def name(self): raise ValueError
    def __repr__(self): raise ValueError
"""
    collected = worker(
        a_map(f"raise {raised}", "[Item()]", 'on_error="collect"', show="len(c.current)") + classes
    ).ready()
    assert result(collected.conduct()) == 1
    failed = worker(a_map(f"raise {raised}", "[Item()]") + classes).ready()
    error = failed.conduct()[-1]["error"]
    assert (error["code"], error["type"]) == ("map-item-failed", raised.partition("(")[0])
    assert "<Item>" in error["message"]


def test_ctrl_c_is_no_items_own_failure(worker):
    last = worker(a_map("raise KeyboardInterrupt", options='on_error="collect", retries=3')).ready().conduct()[-1]
    assert (last["error"]["type"], last["ends"]) == ("KeyboardInterrupt", "failed")


def test_items_are_tried_again_each_for_itself(worker):
    body = """
    tries = ROOT / f"tries-{item}"
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) <= item: raise ValueError(item)
    return len(tries.read_text())"""
    started = worker(
        a_map(body, "[0, 1, 2]", 'retries=1, on_error="collect"', show="[r.value for r in c.current]")
    ).ready()
    frames = started.conduct()
    assert result(frames) == [1, 2, None]
    assert [row[:2] for row in rows(frames)] == [[0, "succeeded"], [1, "succeeded"], [2, "failed"]]


def test_an_item_that_waits_for_its_next_try_holds_up_no_other(worker):
    """Half a second of delay: in it the other thread's items finish, and are told within their 200 ms."""
    body = """
    if item == 0 and not (ROOT / "tried").exists():
        (ROOT / "tried").touch()
        raise ValueError
    return item"""
    started = worker(a_map(body, "list(range(300))", "workers=2, retries=1")).ready()
    frames = started.conduct()
    assert result(frames) == list(range(300))
    order = [row[0] for row in rows(frames)]
    assert order[-1] == 0, "all others were recorded while it waited"


# -- when items are recorded ------------------------------------------------------------------------------------


def test_a_slow_item_keeps_no_finished_one_unrecorded(worker):
    started = worker(a_map("gate('slow') if item == 3 else None; return item")).ready()
    started.gate("slow")
    started.start()
    started.until("step_finished", step=0)
    started.go()
    seen: list[int] = []
    while len(seen) < 3:
        frame = started.until("items")
        seen += [row[0] for row in frame["rows"]]
        started.go()
    assert seen == [0, 1, 2]
    started.open("slow")
    frames = started.follow()
    assert [row[0] for row in rows(frames)] == [3, 4]
    assert result(frames) == [0, 1, 2, 3, 4]


def test_no_more_than_a_batch_runs_ahead_of_the_engine(worker):
    """An engine that does not answer stops a map after the items of two frames."""
    body = "(ROOT / 'done').open('a').write('x'); return item"
    started = worker(a_map(body, "list(range(5000))")).ready()
    started.start()
    started.until("step_finished", step=0)
    started.go()
    told = 0
    assert started.until("items")["rows"] == []
    started.go()
    while told < 100:
        told += len(started.until("items")["rows"])
    started.send(type="cancel", reason="cancelled")
    done = len((started.root / "done").read_text())
    assert done <= 300


@pytest.mark.parametrize("workers", [1, 3])
def test_cancellation_between_items_keeps_what_was_done(worker, workers):
    body = """
    if item == 2:
        context.log("at the gate")
        gate("slow")
    return item"""
    started = worker(a_map(body, "list(range(100_000))", f"workers={workers}", "context, item")).ready()
    started.gate("slow")
    started.start()
    frames = [started.frame()]
    while frames[-1]["type"] != "log":
        if frames[-1]["type"] in ("step_finished", "items"):
            started.go()
        frames.append(started.frame())
    started.send(type="cancel", reason="cancelled")
    started.open("slow")
    frames += started.follow()
    assert frames[-1]["type"] == "run_cancelled"
    recorded = [row[0] for row in rows(frames)]
    assert 2 in recorded and len(recorded) == len(set(recorded)) < 100_000
    assert workers == 3 or recorded == list(range(len(recorded)))


# -- values of items --------------------------------------------------------------------------------------------


def items_of(frames: list[dict]) -> dict:
    """What an engine keeps of a map's items, in the form that a later attempt gets it in."""
    inline, files, total = [], [], 0
    for frame in frames:
        if frame["type"] != "items":
            continue
        total = frame["total"]
        inline += [[row[0], row[3]] for row in frame["rows"] if row[1] == "succeeded" and row[3] is not None]
        if frame.get("file"):
            files.append([frame["file"], frame["in_file"]])
    return {"total": total, "inline": inline, "files": files}


def resume(started, frames: list[dict], **more) -> list[dict]:
    first = next(frame for frame in frames if frame["type"] == "step_finished")
    return started.conduct(
        first_step=1, attempt=2, current=[0, first["checkpoint"]], **{"items": items_of(frames), **more}
    )


VALUES = """
    with open(ROOT / "ran", "a") as file: file.write(f"{item} ")
    if item == 9 and not (ROOT / "mended").exists(): raise ValueError
    return [item, (item, "pair"), None, {"a": [item]}, b"x" * 200_000, True, "half \\udc80", 2**100, 0.5, item][item]"""


def test_a_resumed_map_goes_on_with_every_kind_of_value(worker):
    show = "[repr(v) if not isinstance(v, bytes) else len(v) for v in c.current]"
    started = worker(a_map(VALUES, "list(range(10))", show=show)).ready()
    frames = started.conduct()
    assert frames[-1]["status"] == "failed"
    assert len(items_of(frames)["inline"]) == 7 and sum(len(of) for _, of in items_of(frames)["files"]) == 2
    (started.root / "mended").touch()
    (started.root / "ran").unlink()
    frames = resume(started, frames)
    assert (started.root / "ran").read_text().split() == ["9"], "the others were done"
    assert result(frames) == [
        "0", "(1, 'pair')", "None", "{'a': [3]}", 200_000, "True", "'half \\udc80'", str(2**100), "0.5", "9"
    ]  # fmt: skip
    assert [row[0] for row in rows(frames)] == [9]
    told = [frame["done"] for frame in frames if frame["type"] == "items"]
    assert (told[0], told[-1]) == (9, 10)


def test_a_resumed_map_that_collects_gives_results_for_all(worker):
    body = "return 1 // (item - 1) if not (ROOT / 'mended').exists() else 7"
    started = worker(
        a_map(body, "[0, 1, 2]", 'on_error="collect"', show="[[r.ok, r.item, r.value] for r in c.current]")
    ).ready()
    frames = started.conduct()
    assert result(frames) == [[True, 0, -1], [False, 1, None], [True, 2, 1]]
    (started.root / "mended").touch()
    assert result(resume(started, frames)) == [[True, 0, -1], [True, 1, 7], [True, 2, 1]]


def test_one_value_that_cannot_be_stored_costs_no_other_its_own(worker):
    body = """
    with open(ROOT / "ran", "a") as file: file.write(f"{item} ")
    return (lambda: 1) if item == 1 else (item,)"""
    started = worker(
        a_map(body, "[0, 1, 2]", show="[v[0] if isinstance(v, tuple) else v() for v in c.current]")
    ).ready()
    frames = started.conduct()
    assert result(frames) == [0, 1, 2]
    assert items_of(frames)["files"][0][1] == [0, 2]
    (started.root / "ran").unlink()
    assert result(resume(started, frames)) == [0, 1, 2]
    assert (started.root / "ran").read_text().split() == ["1"]


def test_items_whose_file_is_damaged_run_again(worker):
    body = 'with open(ROOT / "ran", "a") as file: file.write(f"{item} ")\n    return (item,) if item else item'
    started = worker(a_map(body, "[0, 1, 2]", show="str(list(c.current))")).ready()
    frames = started.conduct()
    (saved, _), *_ = items_of(frames)["files"]
    (started.folder / "run" / json.loads(saved)["file"]).write_bytes(b"")
    (started.root / "ran").unlink()
    assert result(resume(started, frames)) == "[0, (1,), (2,)]"
    assert (started.root / "ran").read_text().split() == ["1", "2"]


def test_items_of_another_number_of_them_do_not_count(worker):
    started = worker(a_map("return item")).ready()
    frames = started.conduct()
    again = resume(started, frames, items={"total": 4, "inline": [[0, '"wrong"']], "files": []})
    assert result(again) == [0, 1, 2, 3, 4] and len(rows(again)) == 5


def test_values_of_a_map_nobody_named_are_stored_only_while_they_are_cheap(worker):
    large = "return b'x' * 3_000_000"
    show = "sum(len(v) for v in c.current)"
    cheap = worker(a_map(large, "[0]", show=show)).ready().conduct()
    assert items_of(cheap)["files"] == []
    named = worker(a_map(large, "[0]", 'save_as="large"', show=show)).ready().conduct()
    assert items_of(named)["files"][0][1] == [0]
    assert result(cheap) == result(named) == 3_000_000


def test_a_resumption_with_megabytes_of_items(worker):
    started = worker(
        a_map("return 'new'", "list(range(20_000))", show="[len(c.current), c.current[0][:3], c.current[-1]]")
    ).ready()
    first = next(frame for frame in started.conduct() if frame["type"] == "step_finished")
    inline = [[n, json.dumps("old" + "x" * 600)] for n in range(19_999)]
    frames = started.conduct(
        first_step=1,
        attempt=2,
        current=[0, first["checkpoint"]],
        items={"total": 20_000, "inline": inline, "files": []},
    )
    assert result(frames) == [20_000, "old", "new"]
    assert [row[0] for row in rows(frames)] == [19_999]


def test_a_map_on_a_full_disk_goes_on_and_says_what_is_not_kept(worker, tmp_path):
    import subprocess

    disk = tmp_path / "worker-0" / "run"
    started = worker(a_map("return b'x' * 3_000_000", "[0, 1]", 'save_as="large"', show="len(c.current)")).ready()
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True).returncode:
        pytest.skip("only root may mount a disk of one megabyte")
    try:
        frames = started.conduct()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
    assert result(frames) == 2
    assert items_of(frames)["files"] == []
    told = [frame for frame in frames if frame["type"] == "log"]
    assert told and all(frame["level"] == "warning" and frame["data"]["code"] == "disk-full" for frame in told)
