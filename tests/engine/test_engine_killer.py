"""Worker and engine killed at random moments, again and again, until the run has ended all the same."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from engine_bench import DEADLINE, DRIVER, wait_for_death
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowstead.ledger import LedgerReader
from flowstead.workspace.layout import WorkspaceLayout

EXAMPLES = 24
LINE = 24
MOST_UNRECORDED = 100


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Steps with and without checkpoints, waypoints, retries and maps; kills by the flow, by the clock, of both."""
    steps: list[dict[str, Any]] = []
    saved: list[str] = []

    def options() -> dict[str, Any]:
        found = {
            "use": draw(st.sampled_from([None, None, *saved])),
            "save_as": draw(st.sampled_from([None, f"w{len(steps)}"])),
            "checkpoint": draw(st.sampled_from(["auto", "auto", True, False])),
        }
        if found["save_as"]:
            saved.append(found["save_as"])
        return found

    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            steps.append({"kind": "step", "fails": draw(st.sampled_from([0, 0, 1, 2])), **options()})
        else:
            steps.append({"kind": "spread", "count": draw(st.sampled_from([1, 7, 150, 420])), **options()})
            steps.append({"kind": "map", "workers": draw(st.sampled_from([1, 4])), **options(), "use": None})
    marks = 1 + sum({"step": 2, "spread": 1}.get(step["kind"], 0) for step in steps)
    marks += sum(step.get("count", 0) for step in steps)
    kill = st.fixed_dictionaries(
        {
            "at": st.integers(1, marks + 20),
            "who": st.sampled_from(["worker", "engine"]),
            "delay": st.one_of(st.just(0.0), st.floats(1e-5, 0.02)),
        }
    )
    return {
        "steps": steps,
        "kills": draw(st.lists(kill, min_size=1, max_size=3, unique_by=lambda kill: kill["at"])),
        # Seconds after which the engine is killed from outside, once for each of its first starts.
        "from_outside": draw(st.lists(st.floats(0.0, 0.6), max_size=2)),
    }


def expected_summary(steps: list[dict[str, Any]]) -> str:
    current: Any = 0
    saved: dict[str, Any] = {}
    for index, step in enumerate(steps):
        if step["use"]:
            current = saved[step["use"]]
        amount = current if isinstance(current, int) else sum(current)
        if step["kind"] == "step":
            current = amount + index
        elif step["kind"] == "spread":
            current = [amount + number for number in range(step["count"])]
        else:
            current = [item * 2 for item in current]
        if step["save_as"]:
            saved[step["save_as"]] = current
    return str(current if isinstance(current, int) else sum(current))


@dataclass
class Recorded:
    """What the ledger had acknowledged when everything was dead."""

    stored: dict[int, bool] = field(default_factory=dict)
    items: dict[int, set[int]] = field(default_factory=dict)

    def goes_on_at(self, steps: list[dict[str, Any]]) -> int:
        """The step at which the next attempt has to begin: every value it needs is to be had."""
        finished = 0
        while finished in self.stored:
            finished += 1
        for first in range(finished, 0, -1):
            waypoints = all(self.stored[n] for n in range(first) if n < len(steps) and steps[n]["save_as"])
            uses_current = first <= len(steps) and not (first < len(steps) and steps[first]["use"])
            if waypoints and (not uses_current or self.stored[first - 1]):
                return first
        return 0


class Scene:
    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.root = folder / "workspace"
        (self.root / "flow_modules").mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("killed_flow.py"), self.root / "flow_modules" / "killed.py")
        (self.root / "plan.json").write_text(json.dumps(plan))
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "settings.toml").write_text("resume_limit = 1000\nworker_slots = 2\n")
        self.layout = WorkspaceLayout.of(self.root, self.home)

    def notes(self) -> list[str]:
        path = self.root / "notes"
        data = path.read_bytes() if path.exists() else b""
        return [data[at : at + LINE].decode().strip() for at in range(0, len(data), LINE)]

    def play(self, kill_after: float | None) -> dict[str, Any] | None:
        """One engine, from its start to its death or the end of the run; the run in the latter case."""
        driver = subprocess.Popen(
            [sys.executable, str(DRIVER), str(self.root), "killed", json.dumps({"key": "once"})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FLOWSTEAD_HOME": str(self.home)},
        )
        try:
            out, error = driver.communicate(timeout=DEADLINE if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            assert kill_after is not None, "the engine hangs"
            driver.kill()
            out, error = driver.communicate()
        assert not error, error
        for pid in self.workers():
            wait_for_death(pid)
        if driver.returncode:
            return None
        result = json.loads(out.splitlines()[-1])
        assert "error" not in result, result
        (run,) = result["runs"]
        return run

    def workers(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.Error, OSError):
                continue
            if environment.get("FLOWSTEAD_HOME") == str(self.home) and "FLOWSTEAD_WORKER" in environment:
                found.append(process.pid)
        return found

    def recorded(self) -> Recorded:
        reader = LedgerReader(self.layout.ledger)
        try:
            found = Recorded()
            for run in reader.runs():
                for row in reader.step_rows(run.id):
                    if row[3] == "succeeded":
                        assert row[1] not in found.stored, "a step has two outcomes"
                        found.stored[row[1]] = row[12] is not None
                for index in range(len(self.plan["steps"])):
                    done = {row[0] for row in reader.items(run.id, index) if row[1] == "succeeded"}
                    if done:
                        found.items[index] = done
            return found
        finally:
            reader.close()


def check_attempt(before: Recorded, steps: list[dict[str, Any]], earlier: list[str], now: list[str]) -> None:
    """What an engine's life after `before` did again, of all that had been done."""
    first = before.goes_on_at(steps)
    for index in range(first):
        again = [note for note in now if note == f"step {index}" or note.startswith(f"item {index} ")]
        assert not again, f"{again[:3]} ran again, though step {first} could be begun with"
    if first < len(steps) and steps[first]["kind"] == "map" and before.items.get(first):
        done = {int(note.split()[2]) for note in earlier if note.startswith(f"item {first} ")}
        again = {int(note.split()[2]) for note in now if note.startswith(f"item {first} ")}
        assert not again & before.items[first], "an acknowledged item ran again"
        unrecorded = done - before.items[first]
        assert len(unrecorded) <= MOST_UNRECORDED + steps[first]["workers"]


def check_end(scene: Scene, run: dict[str, Any]) -> None:
    plan = scene.plan
    assert run["status"] == "succeeded", run["error"]
    assert run["summary"] == expected_summary(plan["steps"])
    assert {step["status"] for step in run["steps"]} == {"succeeded"}
    for step, planned in zip(run["steps"], plan["steps"], strict=False):
        if planned["kind"] == "map":
            assert step["items_done"] == step["items_total"]
    with closing(sqlite3.connect(scene.layout.ledger)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        open_steps = "SELECT count(*) FROM step_runs WHERE status IN ('running', 'starting')"
        assert connection.execute(open_steps).fetchone() == (0,)
        events = connection.execute("SELECT seq, kind, id, change FROM events ORDER BY seq").fetchall()
    assert [event[0] for event in events] == list(range(1, len(events) + 1))
    outcomes = [event[1:] for event in events if event[1] == "step" and event[3] == "succeeded"]
    assert len(outcomes) == len(set(outcomes)), "an outcome was recorded twice"
    log = (scene.layout.run_folder(run["id"]) / "events.ndjson").read_bytes()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["event"] == "run.finished"


def test_nothing_is_lost_or_done_twice_however_often_it_is_killed():
    deaths = {"engine": 0, "worker": 0}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(plans())
    def kill_and_go_on(plan: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(Path(folder), plan)
            from_outside = list(plan["from_outside"])
            for _ in range(len(plan["kills"]) + len(from_outside) + 1):
                before, earlier = scene.recorded(), scene.notes()
                run = scene.play(from_outside.pop() if from_outside else None)
                now = scene.notes()[len(earlier) :]
                killed_within = any(
                    kill["who"] == "worker" and len(earlier) < kill["at"] <= len(earlier) + len(now)
                    for kill in plan["kills"]
                )
                deaths["worker"] += killed_within
                if not killed_within:
                    check_attempt(before, plan["steps"], earlier, now)
                if run is not None:
                    check_end(scene, run)
                    return
                deaths["engine"] += 1
            raise AssertionError("the run has not ended, though nothing was killed any more")

    kill_and_go_on()
    # The plans are drawn at random, and some kills come too late: far fewer than are to be expected mean a dull hunter.
    assert deaths["engine"] >= EXAMPLES / 6, deaths
    assert deaths["worker"] >= EXAMPLES / 20, deaths
