"""`flowstead run`, `retry` and `resume`: what starts, what goes on, what is told, and the exit code of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from calling import FAILS, FILES, THREE_STEPS, WAITS, CommandLine, read_until

RUN_FIELDS = [
    "id",
    "flow",
    "version",
    "status",
    "trigger",
    "source_path",
    "attempt",
    "params",
    "key",
    "queued_at",
    "started_at",
    "finished_at",
    "duration_ms",
    "summary",
    "metadata",
    "error",
    "retry_of",
    "steps",
    "artifacts",
    "actions",
]
STEP_FIELDS = [
    "index",
    "name",
    "label",
    "kind",
    "status",
    "attempt",
    "started_at",
    "finished_at",
    "duration_ms",
    "items_total",
    "items_done",
    "items_failed",
    "output_path",
    "rows",
    "error",
]


def test_a_run_is_told_step_by_step(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    done = cli("run", "small")
    assert (done.code, done.err) == (0, "")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[0].startswith("● Run ")
    assert [line.split()[:2] for line in lines[1:3]] == [["✓", "First"], ["✓", "Second"]]
    assert "✓ The last" in lines[3]
    assert "small succeeded in" in lines[4]
    assert lines[4].endswith(": the sum is 6")


def test_the_shape_of_a_run_in_json(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    done = cli("run", "small", "--json")
    assert (done.code, done.err) == (0, "")
    (run,) = done.json["runs"]
    assert set(RUN_FIELDS) <= run.keys()
    assert (run["flow"], run["status"], run["attempt"], run["summary"]) == ("small", "succeeded", 1, "the sum is 6")
    assert (run["error"], run["actions"], run["trigger"]) == (None, ["retry"], "manual")
    assert run["started_at"].endswith("Z")
    assert [step["name"] for step in run["steps"]] == ["first", "second", "third"]
    for step in run["steps"]:
        assert set(STEP_FIELDS) <= step.keys()
        assert step["status"] == "succeeded"
    assert cli("runs", "--json").json == {"runs": [run], "next": None}


def test_a_failed_run_shows_the_line_and_what_to_do(cli: CommandLine) -> None:
    cli.workspace.module("bad", FAILS)
    done = cli("run", "bad")
    assert done.code == 1
    for said in (
        "✓ Fine",
        "✗ Divide",
        "ZeroDivisionError: division by zero",
        "flow_modules/bad.py:10",
        "10 │ return 1 / context.current",
        "flowstead logs ",
        "flowstead retry ",
    ):
        assert said in done.out
    assert "Traceback" not in done.out + done.err
    error = cli("run", "bad", "--json").json["runs"][0]["error"]
    assert (error["code"], error["type"], error["step"]) == ("step-failed", "ZeroDivisionError", "Divide")
    assert (error["file"], error["line"]) == ("flow_modules/bad.py", 10)


def test_a_broken_flow_says_where(cli: CommandLine) -> None:
    cli.workspace.module("odd", "from flowstead import Flow\ndef build(:\n")
    done = cli("run", "odd")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error[")
    assert "flow_modules/odd.py:2" in done.err


def test_parameters_are_checked_before_anything_runs(cli: CommandLine) -> None:
    cli.workspace.module(
        "asks",
        """
        from flowstead import Flow
        def build():
            return Flow("Asks").ask("count", int, label="How many").step(say)
        def say(context):
            context.summary = f"{context.params['count'] + 1}"
        """,
    )
    assert "succeeded" in cli("run", "asks", "-p", "count=41").out
    assert cli("runs", "--json").json["runs"][0]["params"] == {"count": 41}
    for arguments in ([], ["--param", "count=many"], ["--param", "count"], ["-p", "count=1", "-p", "other=2"]):
        done = cli("run", "asks", *arguments)
        assert done.code == 2, arguments
        assert "error[param" in done.err
    assert len(cli("runs", "--json").json["runs"]) == 1


def test_one_key_is_one_run(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    first = cli("run", "small", "--key", "monday", "--json").json["runs"]
    second = cli("run", "small", "--key", "monday", "--json").json["runs"]
    assert first == second
    assert first[0]["key"] == "monday"


def test_each_file_runs_once(cli: CommandLine) -> None:
    cli.workspace.module("texts", FILES)
    for name in ("a", "b", "c"):
        cli.workspace.file(f"inbox/{name}.txt", name)
    assert "Nothing" not in (first := cli("run", "texts")).out
    assert first.code == 0
    assert "3 of 3 files in inbox/ are due." in first.out
    assert "3 runs in " in first.out

    again = cli("run", "texts")
    assert again.code == 0
    assert again.out.startswith("Nothing to do: 3 files of inbox/ are unchanged since their last run.")
    assert "flowstead run texts --force" in again.out
    assert cli("run", "texts", "--json").json == {"runs": []}

    cli.workspace.file("inbox/b.txt", "changed")
    changed = cli("run", "texts", "--json").json["runs"]
    assert [(run["source_path"], run["summary"]) for run in changed] == [("b.txt", "changed")]
    assert len(cli("run", "texts", "--force", "--json").json["runs"]) == 3


def test_failed_files_wait_for_a_change_or_a_word(cli: CommandLine) -> None:
    cli.workspace.module("texts", FILES)
    cli.workspace.file("inbox/good.txt", "good")
    bad = cli.workspace.file("inbox/worse.txt", "bad")
    first = cli("run", "texts")
    assert first.code == 1
    assert "worse.txt is bad" in first.out
    again = cli("run", "texts")
    assert again.code == 0
    assert "1 file failed before and waits for a change, or for: flowstead run texts --retry-failed" in again.out
    retried = cli("run", "texts", "--retry-failed", "--json")
    assert (retried.code, [run["source_path"] for run in retried.json["runs"]]) == (1, ["worse.txt"])
    bad.write_text("fine by now")
    assert [run["status"] for run in cli("run", "texts", "--json").json["runs"]] == ["succeeded"]


def test_one_file_and_another_folder(cli: CommandLine, tmp_path: Path) -> None:
    cli.workspace.module("texts", FILES)
    cli.workspace.file("inbox/a.txt", "a")
    cli.workspace.file("inbox/b.txt", "b")
    (one,) = cli("run", "texts", "--source", "inbox/b.txt", "--json").json["runs"]
    assert one["source_path"] == "b.txt"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.txt").write_text("c")
    (other,) = cli("run", "texts", "--source", elsewhere, "--json").json["runs"]
    assert (other["source_path"], other["summary"]) == ("c.txt", "c")
    missing = cli("run", "texts", "--source", "nowhere")
    assert (missing.code, "error[source-missing]" in missing.err) == (3, True)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_where_it_stopped(signum: signal.Signals, cli: CommandLine) -> None:
    cli.workspace.module("slow", WAITS)
    process = cli.start("run", "slow")
    read_until(process, "✓ First")
    process.send_signal(signum)
    stopped = cli.end(process)
    assert stopped.code == 130
    assert "1 run under way was interrupted" in stopped.err
    assert "Go on with: " in stopped.err
    assert "Traceback" not in stopped.err
    (run,) = cli("runs", "--status", "interrupted", "--json").json["runs"]
    assert [step["status"] for step in run["steps"]] == ["succeeded", "interrupted", "pending"]

    cli.workspace.file("flow_modules/go")
    going_on = cli("run", "slow")
    assert going_on.code == 0
    assert f"Continuing run {run['id'][-8:]} from step Second, attempt 2" in going_on.out
    assert "flowstead run slow --new" in going_on.out
    assert "First" not in going_on.out
    (after,) = cli("runs", "--json").json["runs"]
    assert (after["id"], after["attempt"], after["status"]) == (run["id"], 2, "succeeded")
    assert (cli.workspace.flow_modules / "first.txt").read_text() == "ran\n"


def test_interrupted_with_json(cli: CommandLine) -> None:
    cli.workspace.module("slow", WAITS)
    process = cli.start("run", "slow", "--json")
    until_running(cli)
    stopped = cli.interrupt(process)
    assert stopped.code == 130
    assert [run["status"] for run in stopped.json["runs"]] == ["interrupted"]


def until_running(cli: CommandLine) -> str:
    """Waits until a run's second step is under way; returns the run's id."""
    for _ in range(1000):
        for run in cli("runs", "--json").json["runs"]:
            if run["steps"][1]["status"] == "running":
                return run["id"]
    raise AssertionError("no run began")


def test_new_starts_another_beside_an_interrupted_one(cli: CommandLine) -> None:
    cli.workspace.module("slow", WAITS)
    process = cli.start("run", "slow")
    read_until(process, "✓ First")
    cli.interrupt(process)
    cli.workspace.file("flow_modules/go")
    (new,) = cli("run", "slow", "--new", "--json").json["runs"]
    assert new["attempt"] == 1
    done = cli("resume")
    assert done.code == 0
    assert "attempt 2" in done.out
    assert cli("resume").out == "Nothing to resume: no run was interrupted, and none waits.\n"


def test_a_second_command_waits_or_says_who_is_there(cli: CommandLine) -> None:
    cli.workspace.module("slow", WAITS)
    cli.workspace.module("small", THREE_STEPS)
    first = cli.start("run", "slow")
    read_until(first, "✓ First")

    refused = cli("run", "small", "--no-wait")
    assert refused.code == 4
    assert "error[workspace-busy]" in refused.err
    assert f"process {first.pid} (flowstead run slow)" in refused.err
    assert cli("run", "nothing").code == 3  # what is wrong with the call is told at once

    second = cli.start("run", "small")
    assert second.stderr is not None
    waiting = second.stderr.readline()
    assert f"in use by process {first.pid} (flowstead run slow) since " in waiting
    assert second.poll() is None
    cli.workspace.file("flow_modules/go")
    assert cli.end(first).code == 0
    done = cli.end(second)
    assert done.code == 0
    assert "small succeeded" in done.out


def test_retry_takes_over_what_was_done(cli: CommandLine) -> None:
    cli.workspace.module("bad", FAILS)
    (failed,) = cli("run", "bad", "--json").json["runs"]
    again = cli("retry", failed["id"][-8:])
    assert again.code == 1
    assert f"a retry of {failed['id'][-8:]} from step Divide" in again.out
    assert "Fine" not in again.out
    (retried,) = cli("retry", failed["id"], "--from", "Fine", "--json").json["runs"]
    assert (retried["retry_of"], retried["steps"][0]["status"]) == (failed["id"], "succeeded")
    unknown = cli("retry", failed["id"], "--from", "nothing")
    assert unknown.code == 2
    assert "Its steps are: fine, divide." in unknown.err
    assert cli("retry", "0000ffff").code == 3


def test_many_runs_fail_in_short(cli: CommandLine) -> None:
    cli.workspace.module("texts", FILES)
    for number in range(25):
        cli.workspace.file(f"inbox/{number:02}.txt", "bad" if number % 2 else "good")
    done = cli("run", "texts")
    assert done.code == 1
    assert done.out.count("error[step-failed]") == 3  # the rest have a line each
    assert done.out.count("ValueError: ") == 12
    assert "13 succeeded" in done.out
    assert "12 failed" in done.out
    assert "flowstead runs --flow texts --status failed" in done.out


def test_colours_only_where_they_are_wanted(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    assert "\x1b" not in cli("run", "small").out
    assert "\x1b[32m✓\x1b[0m" in cli("run", "small", FORCE_COLOR="1").out
    assert "\x1b" not in cli("run", "small", FORCE_COLOR="1", NO_COLOR="1").out


def test_other_encodings_get_other_glyphs(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    done = cli("run", "small", PYTHONIOENCODING="ascii")
    assert "+ First" in done.out
    assert done.out.isascii()
