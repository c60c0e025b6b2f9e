"""Two machines on one folder: who owns it, what the other one sees, and how it changes hands.

Each machine is a process with a home of its own. Times are seconds here, where they are minutes in the field.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DEADLINE = 60.0
DRIVER = Path(__file__).with_name("machine_driver.py")
QUICK = {"beat": 0.5, "deadline": 2.0, "stale": 3.0, "request_expiry": 20.0}

STEPS = """
    import os
    from pathlib import Path
    from flowstead import Flow

    def build():
        return Flow("Shared").step(first, save_as="one").step(second)

    def first(context):
        print("first is here")
        with open("../first.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
        return 1

    def second(context):
        import time
        while Path("../wait").exists():
            context.check_cancelled()
            time.sleep(0.01)
        with open("../second.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
        context.summary = "done"
"""

FILES = """
    from flowstead import Flow

    def build():
        return Flow("Files").watch(mode="poll", source="../inbox", interval="1h").step(read)

    def read(context):
        context.summary = context.source.path.read_text()
"""


class Machine:
    def __init__(self, root: Path, home: Path, times: dict[str, float]) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(root), json.dumps(times)],
            env={**os.environ, "FLOWSTEAD_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        assert "ready" in self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        assert ready, "it said nothing in time"
        return json.loads(self.process.stdout.readline())

    def ask(self, method: str, **fields: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, fields]) + "\n")
        return self._line()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(**fields: Any) -> Any:
            said = self.ask(method, **fields)
            assert "answer" in said, said
            return said["answer"]

        return call

    def refusal(self, method: str, **fields: Any) -> dict[str, Any]:
        said = self.ask(method, **fields)
        assert "error" in said, said
        return said["error"]

    def until(self, condition: Callable[[dict[str, Any]], Any], method: str = "standing", **fields: Any) -> Any:
        """Asks until `condition` holds for the answer, and returns it."""
        end = time.monotonic() + DEADLINE
        while True:
            said = self.ask(method, **fields)
            answer = said.get("answer")
            if answer is not None and condition(answer):
                return answer
            assert time.monotonic() < end, f"not in time; the last answer was {said}"
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.communicate(timeout=DEADLINE)  # the end of its input is the end of it
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate(timeout=DEADLINE)


@pytest.fixture
def machine(workspace, tmp_path) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(name: str, **times: float) -> Machine:
        made.append(Machine(workspace.root, tmp_path / name, {**QUICK, **times}))
        return made[-1]

    yield make
    for each in made:
        each.end()


def statuses(page: dict[str, Any]) -> dict[str, str]:
    return {run["id"]: run["status"] for run in page["runs"]}


def settled(machine: Machine, *ids: str) -> dict[str, str]:
    return machine.until(
        lambda page: statuses(page) if all(statuses(page).get(each) == "succeeded" for each in ids) else None, "runs"
    )


def test_an_observer_sees_what_the_owner_did_and_is_refused_with_its_name(workspace, machine):
    workspace.module("shared", STEPS)
    first, second = machine("a"), machine("b")
    (run_id,) = first.start(flow="shared")["started"]
    settled(first, run_id)
    page = second.until(lambda page: run_id in statuses(page), "runs")
    assert statuses(page) == {run_id: "succeeded"}
    seen = second.until(lambda run: len(run["steps"]) == 2 and run["summary"], "run", run_id=run_id)
    mine = first.run(run_id=run_id)
    for each in (seen, mine):
        each.pop("folder")
    assert seen == mine
    log = second.until(lambda lines: lines[-1:] and lines[-1]["event"] == "run.finished", "log", run_id=run_id)
    assert log == first.log(run_id=run_id)
    assert "first is here" in [line["message"] for line in log]

    refused = second.refusal("start", flow="shared")
    assert refused["code"] == "workspace-owned"
    assert os.uname().nodename in refused["message"] and str(first.process.pid) in refused["message"]
    assert "request-control" in refused["hint"]
    standing = second.standing()
    assert standing["state"] == "owned" and standing["actions"] == ["request-control"]
    assert standing["refusal"]["code"] == "workspace-owned" and os.uname().nodename in standing["refusal"]["message"]
    assert first.standing()["state"] == "mine" and first.standing()["refusal"] is None


def test_an_owner_that_was_stopped_for_too_long_writes_nothing_any_more(workspace, machine):
    workspace.module("shared", STEPS)
    waits = workspace.file("wait")
    first, second = machine("a"), machine("b")
    workspace.module("quick", STEPS.replace("../wait", "../never"))
    (done,) = first.start(flow="quick")["started"]
    settled(first, done)
    (run_id,) = first.start(flow="shared")["started"]
    second.until(lambda page: statuses(page).get(run_id) == "running", "runs")
    worker = int((workspace.root / "first.txt").read_text().split()[-1])
    first.signal(signal.SIGSTOP)

    second.until(lambda standing: standing["state"] == "stale")
    second.take_over()
    # The worker ends although its engine, which is stopped, cannot end it.
    wait_for_death(worker)
    assert second.until(lambda page: statuses(page).get(run_id) == "interrupted", "runs")
    waits.unlink()
    second.resume(run_id=run_id)
    settled(second, run_id)

    first.signal(signal.SIGCONT)
    refused = first.until(lambda standing: standing["state"] == "owned")
    assert refused["owner"]["pid"] == second.process.pid
    assert first.refusal("start", flow="shared")["code"] in ("ownership-lost", "workspace-owned")
    assert settled(first, run_id, done)
    assert settled(second, run_id, done)
    for each in (first, second):
        assert len(each.runs()["runs"]) == 2, "each run is present once"
    # The step that was under way did its work on one machine only.
    assert len((workspace.root / "second.txt").read_text().split()) == 2


def wait_for_death(pid: int) -> None:
    fd = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([fd], [], [], DEADLINE)
        assert ready, f"process {pid} still lives"
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def test_a_workspace_is_handed_over_once_the_run_under_way_is_done(workspace, machine):
    workspace.module("shared", STEPS)
    waits = workspace.file("wait")
    first, second = machine("a"), machine("b")
    (run_id,) = first.start(flow="shared")["started"]
    second.until(lambda page: statuses(page).get(run_id) == "running", "runs")
    assert second.request_control()["request"]["mine"]
    asked = first.until(lambda standing: standing["handing_over_to"])
    assert asked["request"]["host"] == os.uname().nodename
    (later,) = first.start(flow="shared", new=True)["started"]
    assert second.standing()["state"] == "owned", "it is not given up while a step runs"
    waits.unlink()
    second.until(lambda standing: standing["state"] == "mine" and standing["engine"] == "running")
    first.until(lambda standing: standing["state"] == "owned" and not standing["engine"])
    assert settled(second, run_id)
    # What was queued while it was handed over goes on where it now belongs.
    assert statuses(second.runs())[later] == "queued"
    second.resume()
    assert settled(second, later) and settled(first, later)
    assert second.standing()["request"] is None


def test_a_step_that_outlasts_the_grace_is_interrupted_and_goes_on_elsewhere(workspace, machine, tmp_path):
    workspace.module("shared", STEPS)
    waits = workspace.file("wait")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "settings.toml").write_text("handover_grace = 0.5\n")
    first, second = machine("a"), machine("b")
    (run_id,) = first.start(flow="shared")["started"]
    second.until(lambda page: statuses(page).get(run_id) == "running", "runs")
    second.request_control()
    second.until(lambda standing: standing["state"] == "mine" and standing["engine"] == "running")
    assert statuses(second.runs()) == {run_id: "interrupted"}
    waits.unlink()
    second.resume(run_id=run_id)
    settled(second, run_id)
    settled(first, run_id)
    assert len((workspace.root / "second.txt").read_text().split()) == 1


def test_a_request_of_a_dead_machine_expires_by_itself(workspace, machine):
    workspace.module("shared", STEPS)
    first, second = machine("a", request_expiry=2.0), machine("b", request_expiry=2.0)
    waits = workspace.file("wait")
    (run_id,) = first.start(flow="shared")["started"]
    second.until(lambda standing: standing["state"] == "owned")
    second.request_control()
    first.until(lambda standing: standing["handing_over_to"])
    second.process.kill()
    first.until(lambda standing: standing["request"] is None and not standing["handing_over_to"])
    waits.unlink()
    settled(first, run_id)
    (later,) = first.start(flow="shared", new=True)["started"]
    settled(first, later)


def test_a_new_owner_runs_fresh_files_only_and_keeps_its_own_history(workspace, machine):
    workspace.module("files", FILES)
    for name in ("a", "b"):
        workspace.file(f"inbox/{name}.txt", name)
    first = machine("a")
    begun = first.start(flow="files")["started"]
    settled(first, *begun)
    first.end()
    second = machine("b")
    workspace.file("inbox/c.txt", "c")
    started = second.start(flow="files")
    assert len(started["started"]) == 1
    settled(second, *begun, *started["started"])
    second.end()
    again = machine("a")
    assert again.start(flow="files")["started"] == []
    assert len(settled(again, *begun, *started["started"])["runs"]) == 3


def test_a_dead_owner_is_followed_and_a_run_it_left_goes_on(workspace, machine):
    workspace.module("shared", STEPS)
    waits = workspace.file("wait")
    first, second = machine("a"), machine("b")
    (run_id,) = first.start(flow="shared")["started"]
    second.until(lambda page: statuses(page).get(run_id) == "running", "runs")
    first.process.kill()
    assert second.refusal("start", flow="shared")["code"] == "workspace-owned"
    second.until(lambda standing: standing["state"] == "stale")
    assert second.until(lambda page: statuses(page)[run_id] == "interrupted", "runs")
    waits.unlink()
    assert second.start(flow="shared")["resumed"] == [run_id]
    settled(second, run_id)


def test_a_missing_segment_is_told_and_taken_in_when_it_appears(workspace, machine):
    workspace.module("shared", STEPS)
    first = machine("a")
    ids = []
    for _ in range(3):
        ids += first.start(flow="shared", new=True)["started"]
        settled(first, ids[-1])
        published = len(ids)
        first.until(lambda standing, published=published: standing["generation"] >= published)
    folder = workspace.root / ".workspace_state" / "state" / "runs"
    middle = sorted(folder.glob("*.parquet"))[1]
    aside = middle.rename(workspace.root / "aside")
    second = machine("b")
    standing = second.until(lambda standing: standing["gaps"])
    assert len(standing["gaps"]) == 1
    assert any("published state" in check["message"] for check in second.doctor() if check["status"] == "warning")
    aside.rename(middle)
    second.until(lambda standing: not standing["gaps"])
    settled(second, *ids)
