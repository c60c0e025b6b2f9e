"""The loop behind every run and preview: which step gets what, what is tried again, and what a recorder is told."""

import threading

import pytest

from flowstead import Flow, RunCancelled
from flowstead.flow import execution
from flowstead.flow.batch import Batch, ItemResult
from flowstead.flow.errors import StepFailure
from flowstead.flow.execution import MapItemFailed, Recorder, retry_delay, run_steps

DEADLINE = 20


class Notes(Recorder):
    """Keeps all that it is told; `known` are items that an earlier attempt has finished."""

    def __init__(self, known: dict | None = None) -> None:
        self.told: list[tuple] = []
        self.known = known or {}
        self.waits: list[float] = []
        self.cancelled = threading.Event()

    def step_started(self, step):
        self.told.append(("started", step.index))

    def step_succeeded(self, step, value, context):
        self.told.append(("succeeded", step.index, value))

    def step_failed(self, step, error, context, retry_in):
        self.told.append(("failed", step.index, type(error).__name__, retry_in is not None))

    def map_started(self, step, total):
        self.told.append(("map", step.index, total))
        return self.known

    def item_finished(self, index, status, duration_us, value, error):
        self.told.append(("item", index, status))

    def map_finished(self):
        self.told.append(("map finished",))

    def check_cancelled(self):
        if self.cancelled.is_set():
            raise RunCancelled("cancelled")

    def wait(self, seconds):
        self.waits.append(seconds)
        self.check_cancelled()


def raising(*errors):
    """A function that raises each of these once, and then returns 7."""
    left = list(errors)

    def step(*_):
        if left:
            raise left.pop(0)
        return 7

    return step


def test_values_go_from_step_to_step_and_by_name(make_context):
    flow = (
        Flow("g")
        .step(lambda c: "raw", save_as="raw")
        .step(lambda c: c.current + " clean", save_as="clean")
        .step(lambda c: c.current.upper(), use="raw")
        .step(lambda c: (c.current, sorted(c.objects)), use="current")
    )
    context = make_context()
    run_steps(flow, context)
    assert context.current == ("RAW", ["clean", "raw"])
    assert context.objects == {"raw": "raw", "clean": "raw clean"}


def test_it_stops_once_the_waypoint_is_there(make_context):
    flow = Flow("g").step(lambda c: 1, save_as="one").step(lambda c: pytest.fail("it went on"))
    context, notes = make_context(), Notes()
    run_steps(flow, context, notes, stop_after="one")
    assert context.objects == {"one": 1} and notes.told == [("started", 0), ("succeeded", 0, 1)]


def test_it_goes_on_at_a_later_step(make_context):
    flow = Flow("g").step(lambda c: pytest.fail("it began anew")).step(lambda c: c.current + 1)
    context = make_context()
    context.current = 41
    run_steps(flow, context, first_step=1)
    assert context.current == 42


def test_a_waypoint_that_is_missing(make_context):
    flow = Flow("g").step(lambda c: 1, save_as="one").step(lambda c: 2, use="one")
    notes = Notes()
    with pytest.raises(StepFailure) as failed:
        run_steps(flow, make_context(), notes, first_step=1)
    assert failed.value.code == "waypoint-missing" and "saved: none yet" in failed.value.message
    assert notes.told == [("started", 1), ("failed", 1, "StepFailure", False)]


@pytest.mark.parametrize(
    ("errors", "before", "failures"),
    [((), 0, 0), ((ValueError(),), 0, 1), ((ValueError(), SystemExit(1)), 0, 2), ((ValueError(),), 1, 1)],
)
def test_a_step_is_tried_again(make_context, errors, before, failures):
    flow = Flow("g").step(raising(*errors), retries=2, retry_delay="10s")
    notes, context = Notes(), make_context()
    run_steps(flow, context, notes, failures=before)
    assert context.current == 7
    assert [each for each in notes.told if each[0] == "failed"] == [
        ("failed", 0, type(error).__name__, True) for error in errors
    ]
    assert [5 * 2 ** (n + before) <= wait <= 10 * 2 ** (n + before) for n, wait in enumerate(notes.waits)] == [
        True
    ] * failures


@pytest.mark.parametrize("retries", [0, 2])
def test_the_last_try_raises_what_it_raised(make_context, retries):
    errors = [ValueError(n) for n in range(5)]
    notes = Notes()
    with pytest.raises(ValueError) as failed:
        run_steps(Flow("g").step(raising(*errors), retries=retries), make_context(), notes)
    assert failed.value is errors[retries]
    assert notes.told[-1] == ("failed", 0, "ValueError", False)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunCancelled()])
def test_neither_ctrl_c_nor_a_cancellation_is_tried_again(make_context, error):
    notes = Notes()
    with pytest.raises(type(error)):
        run_steps(Flow("g").step(raising(error), retries=5), make_context(), notes)
    assert notes.waits == []
    assert (("failed", 0, "KeyboardInterrupt", False) in notes.told) == isinstance(error, KeyboardInterrupt)


def test_each_try_begins_with_the_value_before_it(make_context):
    def changes(context):
        seen.append(context.current)
        context.current = "changed"
        if len(seen) < 3:
            raise ValueError

    seen: list = []
    run_steps(Flow("g").step(lambda c: "before").step(changes, retries=2), make_context(), Notes())
    assert seen == ["before"] * 3


def test_delays_grow_but_not_for_ever():
    for failures in (1, 2, 5):
        delays = [retry_delay(1.0, failures) for _ in range(200)]
        assert 2 ** (failures - 1) / 2 <= min(delays) < max(delays) <= 2 ** (failures - 1)
    assert retry_delay(1.0, 100_000) <= execution.LONGEST_RETRY_DELAY
    assert retry_delay(0.001, 5000) >= execution.LONGEST_RETRY_DELAY / 2


# -- maps -------------------------------------------------------------------------------------------------------


def a_map(fn, items=(1, 2, 3, 4), **options):
    return Flow("g").step(lambda c: list(items)).map(fn, **options)


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_a_map_gives_a_batch_in_order(make_context, workers):
    context, notes = make_context(), Notes()
    run_steps(a_map(lambda item: item * 2, workers=workers), context, notes)
    assert context.current == Batch([2, 4, 6, 8])
    assert sorted(each for each in notes.told if each[0] == "item") == [("item", n, "succeeded") for n in range(4)]
    assert notes.told[-2:] == [("map finished",), ("succeeded", 1, context.current)]


def test_known_items_are_not_run_again(make_context):
    for on_error, wanted in (("raise", [10, "new", 30, "new"]), ("skip", [10, "new", 30, "new"])):
        context, notes = make_context(), Notes({0: 10, 2: 30})
        run_steps(a_map(lambda item: "new", on_error=on_error), context, notes)
        assert list(context.current) == wanted
        assert [each[1] for each in notes.told if each[0] == "item"] == [1, 3]
    context = make_context()
    run_steps(a_map(lambda item: 1 / 0, on_error="collect"), context, Notes({0: 10, 1: None, 2: 30}))
    assert context.current[0] == ItemResult(0, 1, 10) and context.current[1].ok
    assert isinstance(context.current[3].error, ZeroDivisionError)


def test_a_failure_stops_the_threads_from_starting_more(make_context):
    begun, failed = [], threading.Event()

    def fn(item):
        begun.append(item)
        if item == 0:
            failed.set()
            raise ValueError(item)
        assert failed.wait(DEADLINE)
        return item

    notes = Notes()
    with pytest.raises(MapItemFailed, match=r"Item 0 \(0\) failed: ValueError: 0") as raised:
        run_steps(a_map(fn, range(100_000), workers=2), make_context(), notes)
    assert isinstance(raised.value.__cause__, ValueError) and raised.value.code == "map-item-failed"
    assert len(begun) < 100_000
    told = sorted(each[1] for each in notes.told if each[0] == "item")
    assert told == sorted(begun), "what was begun is finished and told"
    assert ("map finished",) in notes.told


@pytest.mark.parametrize("workers", [1, 3])
def test_a_cancellation_ends_a_map_between_items(make_context, workers):
    notes = Notes()

    def fn(item):
        notes.cancelled.set()
        return item

    with pytest.raises(RunCancelled):
        run_steps(a_map(fn, range(1000), workers=workers), make_context(), notes)
    assert 1 <= len([each for each in notes.told if each[0] == "item"]) <= workers
    assert notes.told[-1] == ("map finished",) and not [each for each in notes.told if each[0] == "failed"]


def test_a_cancellation_raised_by_an_item_is_none_of_its_failures(make_context):
    with pytest.raises(RunCancelled):
        run_steps(a_map(raising(RunCancelled()), on_error="collect", retries=3), make_context(), Notes())


def test_an_item_is_tried_again_and_the_map_is_not(make_context):
    notes, context = Notes(), make_context()
    run_steps(a_map(raising(ValueError(), ValueError()), [1], retries=2), context, notes)
    assert list(context.current) == [7] and len(notes.waits) == 2
    notes = Notes()
    with pytest.raises(MapItemFailed):
        run_steps(a_map(raising(*[ValueError()] * 9), [1], retries=2), make_context(), notes)
    assert len(notes.waits) == 2 and notes.told.count(("started", 1)) == 1


class Nameless:
    @property
    def name(self):
        raise ValueError

    def __repr__(self):
        raise ValueError


def test_an_item_that_cannot_be_named_still_fails_by_name(make_context):
    with pytest.raises(MapItemFailed, match=r"Item 0 \(<Nameless>\) failed"):
        run_steps(a_map(lambda item: 1 / 0, [Nameless()]), make_context(), Notes())
    with pytest.raises(MapItemFailed, match=r"Item 0 \('x{76}\.\.\.\) failed"):
        run_steps(a_map(lambda item: 1 / 0, ["x" * 500]), make_context(), Notes())


def test_a_preview_needs_no_recorder(make_context):
    context = make_context()
    run_steps(a_map(lambda item: item, workers=2), context)
    assert list(context.current) == [1, 2, 3, 4]
