"""The life of runs as random commands, checked against a small model of it after each one."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flowstead.ledger import Ledger, StepOutcome
from flowstead.ledger.transaction import Fence
from flowstead.model.errors import StaleWriter
from flowstead.model.run import ENDED, RunRequest

UNDER_WAY = ("starting", "running", "cancelling")
STEPS = 4
MOST_RUNS = 4


@dataclass
class ModelRun:
    request: RunRequest
    status: str = "queued"
    attempt: int = 0
    fence: Fence | None = None
    old_fences: list[Fence] = field(default_factory=list)
    steps: dict[tuple[int, int], str] = field(default_factory=dict)
    items: dict[tuple[int, int], str] = field(default_factory=dict)
    artifacts: set[int] = field(default_factory=set)

    def begin(self, step: int, attempt: int) -> tuple[str, str, str]:
        self.steps[step, attempt] = "running"
        return self.step_event(step, attempt, "running")

    def step_event(self, step: int, attempt: int, change: str) -> tuple[str, str, str]:
        return ("step", f"{self.request.id}/{step}/{attempt}", change)

    def change(self, status: str) -> tuple[str, str, str]:
        self.status = status
        return ("run", self.request.id, status)

    def close(self, status: str) -> list[tuple[str, str, str]]:
        running = [each for each, now in sorted(self.steps.items()) if now == "running"]
        for each in running:
            self.steps[each] = status
        return [self.step_event(*each, status) for each in running]

    def next_attempt(self, step: int) -> int:
        return max((attempt for index, attempt in self.steps if index == step), default=0) + 1

    def accepts(self, fence: Fence) -> bool:
        return fence == self.fence and self.status in UNDER_WAY

    def drop_fence(self) -> None:
        if self.fence is not None:
            self.old_fences.append(self.fence)
        self.fence = None


class LifeOfRuns(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.time = 1000
        self.ledger = Ledger(Path(self.folder.name) / "ledger.sqlite3", clock=self.tick)
        self.runs: list[ModelRun] = []
        self.keys: dict[tuple[str, str], str] = {}
        self.epoch = 0
        self.tokens = 0
        self.seen = 0
        self.states: dict[str, str] = {}
        self.folded: dict[str, str] = {}
        self.take_over()

    def tick(self) -> int:
        self.time += 1
        return self.time

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    def write(self, operation: Callable, accepted: object, expected: list[tuple[str, str, str]]) -> None:
        """Writes, and checks what was answered and that exactly the expected events came of it, in order."""
        assert self.ledger.write(operation) == accepted
        events = self.ledger.reader.events(self.seen)
        assert [event[0] for event in events] == list(range(self.seen + 1, self.seen + len(events) + 1))
        assert [event[2:] for event in events] == expected
        self.seen += len(events)
        for _, _, kind, row_id, change in events:
            if kind in ("run", "step") and change != "progress":
                self.folded[f"{kind} {row_id}"] = change

    def pick(self, data: st.DataObject) -> ModelRun:
        return data.draw(st.sampled_from(self.runs), "run")

    def pick_fence(self, data: st.DataObject, run: ModelRun) -> Fence:
        """Most often the one that speaks for the run; else an earlier one, one of another epoch, or another's."""
        known = [*run.old_fences, Fence(run.request.id, "none", self.epoch)]
        if run.fence is not None:
            known.append(Fence(run.request.id, run.fence.token, run.fence.epoch - 1))
            if data.draw(st.integers(0, 3), "stale") > 0:
                return run.fence
        return data.draw(st.sampled_from(known), "fence")

    # -- what an engine does -----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.runs) < MOST_RUNS)
    @rule(
        flow=st.sampled_from(["north", "south"]),
        key=st.sampled_from([None, None, "a", "b"]),
        root=st.sampled_from([None, "/in"]),
    )
    def enqueue(self, flow, key, root) -> None:
        request = RunRequest(flow, "Sales", "v1", "manual", key=key, source_root=root, source_path=root and "a.csv")
        first = self.keys.get((flow, key))
        if key is not None and first is not None:
            self.write(lambda tx: tx.enqueue(request), (first, False), [])
            return
        run = ModelRun(request)
        self.runs.append(run)
        self.keys[flow, key] = request.id
        self.write(lambda tx: tx.enqueue(request), (request.id, True), [run.change("queued")])

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), warm=st.booleans(), outdated=st.integers(0, 5))
    def claim(self, data, warm, outdated) -> None:
        run = self.pick(data)
        self.tokens += 1
        fence = Fence(run.request.id, f"t{self.tokens}", self.epoch - (outdated == 0))
        warm = warm and not run.steps
        if fence.epoch < self.epoch:
            try:
                self.write(lambda tx: tx.claim(fence, "w", first_step=warm), None, [])
            except StaleWriter:
                return
            raise AssertionError("an engine of an earlier epoch claimed a run")
        if run.status != "queued":
            self.write(lambda tx: tx.claim(fence, "w", first_step=warm), False, [])
            return
        run.fence = fence
        run.attempt += 1
        expected = [run.change("running" if warm else "starting")]
        if warm:
            expected.append(run.begin(0, 1))
        self.write(lambda tx: tx.claim(fence, "w", first_step=warm), True, expected)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), step=st.integers(0, STEPS - 1))
    def start_step(self, data, step) -> None:
        run = self.pick(data)
        fence, attempt = self.pick_fence(data, run), run.next_attempt(step)
        expected = []
        accepted = run.accepts(fence)
        if accepted:
            if run.status == "starting":
                expected.append(run.change("running"))
            expected.append(run.begin(step, attempt))
        self.write(lambda tx: tx.start_step(fence, step, attempt, self.time), accepted, expected)

    @precondition(lambda self: any(run.steps for run in self.runs))
    @rule(data=st.data(), status=st.sampled_from(["succeeded", "succeeded", "failed"]), follow=st.booleans())
    def finish_step(self, data, status, follow) -> None:
        run = data.draw(st.sampled_from([run for run in self.runs if run.steps]), "run")
        fence = self.pick_fence(data, run)
        running = [each for each, now in run.steps.items() if now == "running"]
        step, attempt = data.draw(st.sampled_from(running * 3 + list(run.steps)), "step")
        following = (step + 1, run.next_attempt(step + 1)) if follow else None
        outcome = StepOutcome(step, attempt, status, None, self.time, checkpoint="{}")
        accepted = run.accepts(fence) and run.status != "starting" and run.steps[step, attempt] == "running"
        expected = []
        if accepted:
            run.steps[step, attempt] = status
            expected.append(run.step_event(step, attempt, status))
            if following is not None:
                expected.append(run.begin(*following))
        self.write(lambda tx: tx.finish_step(fence, outcome, following=following, metadata="{}"), accepted, expected)

    @precondition(lambda self: any(run.steps for run in self.runs))
    @rule(data=st.data(), items=st.sets(st.integers(0, 5), max_size=3), status=st.sampled_from(["succeeded", "failed"]))
    def put_items(self, data, items, status) -> None:
        run = data.draw(st.sampled_from([run for run in self.runs if run.steps]), "run")
        fence = self.pick_fence(data, run)
        step, attempt = data.draw(st.sampled_from(list(run.steps)), "step")
        accepted = run.accepts(fence)
        expected = []
        if accepted and run.steps[step, attempt] == "running":
            run.items.update({(step, item): status for item in items})
            expected.append(run.step_event(step, attempt, "progress"))
        rows = [(item, status, 1, None, None, None) for item in sorted(items)]
        self.write(
            lambda tx: tx.put_items(fence, step, attempt, rows, total=6, done=len(items), failed=0), accepted, expected
        )

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), step=st.integers(0, STEPS - 1))
    def keep_artifact(self, data, step) -> None:
        run = self.pick(data)
        fence = self.pick_fence(data, run)
        accepted = run.accepts(fence)
        path = f"artifacts/{step}.md"
        if accepted:
            run.artifacts.add(step)
        self.write(
            lambda tx: tx.put_artifact(fence, step=step, name="a", kind="report", path=path, info="{}"),
            accepted,
            [("artifact", f"{run.request.id}/{path}", "added")] if accepted else [],
        )

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), losses=st.integers(0, 1))
    def requeue(self, data, losses) -> None:
        run = self.pick(data)
        fence = self.pick_fence(data, run)
        accepted = run.accepts(fence) and run.status != "cancelling"
        expected = []
        if accepted:
            expected = [*run.close("interrupted"), run.change("queued")]
            run.drop_fence()
        self.write(
            lambda tx: tx.requeue(fence, due_at=self.time, step_status="interrupted", error=None, losses=losses),
            accepted,
            expected,
        )

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), status=st.sampled_from([*ENDED, "interrupted"]))
    def end_run(self, data, status) -> None:
        run = self.pick(data)
        fence = self.pick_fence(data, run)
        accepted = run.accepts(fence)
        request = run.request
        expected = []
        if accepted:
            expected = run.close(status)
            if request.source_root and status != "interrupted":
                expected.append(("files", request.flow, status))
            expected.append(run.change(status))
            run.drop_fence()
        self.write(
            lambda tx: tx.end_run(fence, status, flow=request.flow, source_root=request.source_root),
            accepted,
            expected,
        )

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        run = self.pick(data)
        answer, expected = None, []
        if run.status in ("queued", "interrupted"):
            answer = "cancelled"
        elif run.status in ("starting", "running"):
            answer = "cancelling"
        if answer == "cancelled" and run.request.source_root:
            expected.append(("files", run.request.flow, answer))
        if answer:
            expected.append(run.change(answer))
        self.write(lambda tx: tx.cancel(run.request.id), answer, expected)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def resume(self, data) -> None:
        run = self.pick(data)
        accepted = run.status == "interrupted"
        expected = [run.change("queued")] if accepted else []
        self.write(lambda tx: tx.resume(run.request.id), accepted, expected)

    @precondition(lambda self: any(run.status in UNDER_WAY for run in self.runs))
    @rule(data=st.data(), step=st.integers(0, STEPS - 1), keep=st.booleans())
    def plan_resumption(self, data, step, keep) -> None:
        run = data.draw(st.sampled_from([run for run in self.runs if run.status in UNDER_WAY]), "run")
        again = [each for each, now in sorted(run.steps.items()) if now == "succeeded" and each[0] >= step]
        for each in again:
            run.steps[each] = "superseded"
        run.items = {each: now for each, now in run.items.items() if each[0] < step + keep}
        expected = [run.step_event(*each, "superseded") for each in again]
        dropped = [(f"artifacts/{each}.md", "{}") for each in sorted(run.artifacts) if each >= step + keep]
        run.artifacts = {each for each in run.artifacts if each < step + keep}
        expected += [("artifact", f"{run.request.id}/{path}", "dropped") for path, _ in dropped]
        self.write(lambda tx: tx.resume_at(run.fence, step, keep_items=keep), dropped, expected)

    @precondition(lambda self: len(self.runs) < MOST_RUNS and any(run.status in ENDED for run in self.runs))
    @rule(data=st.data(), step=st.integers(0, STEPS - 1))
    def retry(self, data, step) -> None:
        old = data.draw(st.sampled_from([run for run in self.runs if run.status in ENDED]), "run")
        request = RunRequest(old.request.flow, "Sales", "v1", "retry", retry_of=old.request.id)
        new = ModelRun(request)
        self.runs.append(new)
        taken = {s: a for (s, a), now in sorted(old.steps.items()) if now == "succeeded" and s < step}
        expected = [new.change("queued")]
        for each in taken:
            new.steps[each, 1] = "succeeded"
            expected.append(new.step_event(each, 1, "succeeded"))
        new.items = {each: now for each, now in old.items.items() if each[0] <= step and now == "succeeded"}

        def enqueue(tx) -> None:
            tx.enqueue(request)
            tx.copy_steps(old.request.id, request.id, list(taken.items()), step)
            tx.note(request.id, "{}")

        self.write(enqueue, None, expected)

    @rule()
    @precondition(lambda self: any(run.status in UNDER_WAY for run in self.runs))
    def new_engine(self) -> None:
        self.take_over()

    def take_over(self) -> None:
        """An engine takes over: a new epoch, and whatever the one before had under way is at an end."""
        self.epoch += 1
        epoch = str(self.epoch)
        self.write(lambda tx: tx.put_meta("epoch", epoch), None, [])
        lost = [run for run in self.runs if run.status in UNDER_WAY]
        found = self.ledger.write(lambda tx: tx.abandoned())
        assert {row[0]: row[1] for row in found} == {run.request.id: run.status for run in lost}
        for run in lost:
            status = "cancelled" if run.status == "cancelling" else "interrupted"
            expected = run.close(status)
            if run.request.source_root and status == "cancelled":
                expected.append(("files", run.request.flow, status))
            expected.append(run.change(status))
            run.drop_fence()
            self.write(lambda tx, run=run, status=status: tx.abandon(run.request.id, status, None), None, expected)

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.ledger.path, clock=self.tick)
        assert self.ledger.last_event == self.seen

    # -- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def the_tables_are_as_the_model_says(self) -> None:
        if not hasattr(self, "ledger"):
            return
        rows = self.ledger.reader.rows
        found = {row[0]: row[1:] for row in rows("SELECT id, status, attempt, token FROM runs")}
        wanted = {run.request.id: (run.status, run.attempt, run.fence and run.fence.token) for run in self.runs}
        assert found == wanted
        assert {row[:3]: row[3] for row in rows("SELECT run_id, step, attempt, status FROM step_runs")} == {
            (run.request.id, *each): now for run in self.runs for each, now in run.steps.items()
        }
        assert {row[:3]: row[3] for row in rows("SELECT run_id, step, item, status FROM items")} == {
            (run.request.id, *each): now for run in self.runs for each, now in run.items.items()
        }
        assert set(rows("SELECT run_id, step FROM artifacts")) == {
            (run.request.id, each) for run in self.runs for each in run.artifacts
        }

    @invariant()
    def folding_the_events_gives_the_tables(self) -> None:
        if not hasattr(self, "ledger"):
            return
        rows = self.ledger.reader.rows
        found = {f"run {run_id}": status for run_id, status in rows("SELECT id, status FROM runs")}
        for run_id, step, attempt, status in rows("SELECT run_id, step, attempt, status FROM step_runs"):
            found[f"step {run_id}/{step}/{attempt}"] = status
        assert self.folded == found

    @invariant()
    def what_has_ended_stays_so(self) -> None:
        for run in getattr(self, "runs", ()):
            before = self.states.get(run.request.id)
            if before in ENDED:
                assert run.status == before
            self.states[run.request.id] = run.status


TestLifeOfRuns = LifeOfRuns.TestCase
TestLifeOfRuns.settings = settings(
    max_examples=50, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
