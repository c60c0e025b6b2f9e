"""Running a flow's steps, in order, in this process: the one loop behind a worker's runs and an author's preview."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.flow.batch import Batch, FileRef, ItemResult
from flowstead.flow.errors import RunCancelled, StepFailure

if TYPE_CHECKING:
    from flowstead.flow.context import FlowContext
    from flowstead.flow.definition import Flow, Step

LONGEST_RETRY_DELAY = 3600.0


class Recorder:
    """What follows a run step by step. This one records nothing; a worker's sends each outcome to its engine.

    A recorder that returns from `step_succeeded` has the outcome safe: only then does the next step start.
    """

    def step_started(self, step: Step) -> None: ...

    def step_succeeded(self, step: Step, value: Any, context: FlowContext) -> None: ...

    def step_failed(self, step: Step, error: BaseException, context: FlowContext, retry_in: float | None) -> None: ...

    def map_started(self, step: Step, total: int) -> dict[int, Any]:
        """Says how many items there are; returns the values of those an earlier attempt has finished."""
        return {}

    def item_finished(
        self, index: int, status: str, duration_us: int, value: Any, error: BaseException | None
    ) -> None: ...

    def map_finished(self) -> None: ...

    def check_cancelled(self) -> None:
        """Raises RunCancelled when the run is to end."""

    def wait(self, seconds: float) -> None:
        """Waits before a retry; ends early by raising RunCancelled."""
        time.sleep(seconds)


class MapItemFailed(StepFailure):
    """One item of a map failed and the map was told to raise; `__cause__` is the item's own error."""

    def __init__(self, index: int, item: Any, cause: BaseException) -> None:
        super().__init__(
            f"Item {index} ({_named(item)}) failed: {type(cause).__name__}: {_words(str, cause)}",
            code="map-item-failed",
            hint='Fix it and retry (finished items are kept), or let the map go on with on_error="collect" or "skip".',
        )
        self.__cause__ = cause


def run_steps(
    flow: Flow,
    context: FlowContext,
    recorder: Recorder | None = None,
    *,
    stop_after: str | None = None,
    first_step: int = 0,
    failures: int = 0,
) -> None:
    """Runs the steps of `flow` from `first_step` on; `context` holds the values and is changed in place.

    `failures` is how often the first of them has failed before, which its retries already count.
    Ends early once the waypoint `stop_after` is saved. Raises what the failing step raised, after `recorder` has it,
    or RunCancelled.
    """
    recorder = recorder or Recorder()
    for step in flow.steps[first_step:]:
        context._begin_step(step.index)
        if step.use is not None and step.use != "current":
            if step.use not in context.objects:
                known = ", ".join(context.objects) or "none yet"
                recorder.step_started(step)
                missing = StepFailure(
                    f"Step {step.label!r} uses {step.use!r}, which no earlier step saved (saved: {known}).",
                    code="waypoint-missing",
                    hint=f"Give an earlier step save_as={step.use!r}, or change use=.",
                )
                recorder.step_failed(step, missing, context, None)
                raise missing
            context.current = context.objects[step.use]
        value = _attempt(step, context, recorder, failures)
        failures = 0
        context.current = value
        if step.save_as is not None:
            context.objects[step.save_as] = value
        if isinstance(value, Path):
            context.metadata.setdefault("step_outputs", {})[step.label] = value
        recorder.step_succeeded(step, value, context)
        if stop_after is not None and step.save_as == stop_after:
            return


def _attempt(step: Step, context: FlowContext, recorder: Recorder, failures: int) -> Any:
    before = context.current
    while True:
        recorder.step_started(step)
        try:
            return _BODIES[step.kind](step, context, recorder)
        except RunCancelled:
            raise
        except BaseException as error:
            # A map retries its items one by one; the step itself is not repeated on top of that. Ctrl-C in an author's
            # own process is no failure to try again.
            retries = 0 if step.kind == "map" or isinstance(error, KeyboardInterrupt) else step.retries
            if failures >= retries:
                recorder.step_failed(step, error, context, None)
                raise
            failures += 1
            delay = retry_delay(step.retry_delay, failures)
            recorder.step_failed(step, error, context, delay)
            recorder.wait(delay)
            context.current = before


def retry_delay(base: float, failures: int) -> float:
    """Exponential back-off with full jitter above half (Brooker, "Exponential Backoff And Jitter", 2015)."""
    ceiling = min(LONGEST_RETRY_DELAY, base * 2 ** min(failures - 1, 62))
    return ceiling * (0.5 + random.random() / 2)


def _run_step(step: Step, context: FlowContext, recorder: Recorder) -> Any:
    function: Any = step.fn
    return function(context)


def _run_collect(step: Step, context: FlowContext, recorder: Recorder) -> Batch:
    from flowstead.flow.files import iter_files

    root = context._collect_root(step.root)
    return Batch(FileRef(path) for path in iter_files(root, step.extensions, step.recursive))


def _run_map(step: Step, context: FlowContext, recorder: Recorder) -> Batch:
    items = _items_of(step, context.current)
    known = recorder.map_started(step, len(items))
    results: list[Any] = [None] * len(items)
    for index, value in known.items():
        results[index] = _kept(step, index, items[index], value)
    waiting = [index for index in range(len(items)) if index not in known]
    run_item = _item_runner(step, context, recorder, items, results)
    try:
        if step.workers == 1:
            for index in waiting:
                recorder.check_cancelled()
                run_item(index)
        else:
            _run_threads(step.workers, waiting, run_item, recorder)
    finally:
        context._item = None
        recorder.map_finished()
    if step.on_error == "skip":
        return Batch(result for result in results if result is not _SKIPPED)
    return Batch(results)


_SKIPPED = object()

_BODIES: dict[str, Callable[..., Any]] = {"step": _run_step, "collect": _run_collect, "map": _run_map}


def _items_of(step: Step, current: Any) -> list[Any]:
    if current is None or isinstance(current, (str, bytes, dict)) or not hasattr(current, "__iter__"):
        given = "None" if current is None else f"a {type(current).__name__}"
        raise StepFailure(
            f"Map {step.label!r} needs a list, Batch or other iterable of items; it was given {given}.",
            code="map-not-iterable",
            hint="Return a list from the step before it, or name the right waypoint with use=.",
        )
    items = list(current)
    if not items:
        raise StepFailure(
            f"Map {step.label!r} was given an empty batch.",
            code="map-empty",
            hint="Check the step before it: a collect that finds no file gives an empty batch.",
        )
    return items


def _kept(step: Step, index: int, item: Any, value: Any) -> Any:
    return ItemResult(index, item, value, None, "succeeded") if step.on_error == "collect" else value


def _item_runner(
    step: Step, context: FlowContext, recorder: Recorder, items: list[Any], results: list[Any]
) -> Callable[[int], None]:
    function: Any = step.fn
    takes_context, on_error, retries = step.takes_context, step.on_error, step.retries
    finished, clock = recorder.item_finished, time.perf_counter_ns
    collecting = on_error == "collect"

    def run_item(index: int) -> None:
        item = items[index]
        context._item = index
        failures = 0
        started = clock()
        while True:
            try:
                value = function(context, item) if takes_context else function(item)
            except (RunCancelled, KeyboardInterrupt):
                raise
            except BaseException as error:
                if failures < retries:
                    failures += 1
                    recorder.wait(retry_delay(step.retry_delay, failures))
                    continue
                finished(index, "failed", (clock() - started) // 1000, None, error)
                if on_error == "raise":
                    raise MapItemFailed(index, item, error)
                results[index] = _SKIPPED if on_error == "skip" else ItemResult(index, item, None, error, "failed")
                return
            results[index] = ItemResult(index, item, value, None, "succeeded") if collecting else value
            finished(index, "succeeded", (clock() - started) // 1000, value, None)
            return

    return run_item


def _run_threads(workers: int, waiting: list[int], run_item: Callable[[int], None], recorder: Recorder) -> None:
    """Runs items in threads; the first failure, or a cancellation, lets started items finish and starts no other."""
    pending = iter(waiting)
    guard = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        while True:
            with guard:
                index = next(pending, None)
            if index is None or failures:
                return
            try:
                recorder.check_cancelled()
                run_item(index)
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=work, name=f"map-{n}", daemon=True) for n in range(min(workers, len(waiting)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as interruption:
        failures.append(interruption)
        raise
    if failures:
        raise failures[0]


def _named(item: Any) -> str:
    name = getattr(item, "name", None) if isinstance(item, os.PathLike) else None
    text = name if isinstance(name, str) else _words(repr, item)
    return text if len(text) <= 80 else text[:77] + "..."


def _words(told: Callable[[Any], str], value: Any) -> str:
    try:
        return told(value)
    except Exception:
        return f"<{type(value).__name__}>"
