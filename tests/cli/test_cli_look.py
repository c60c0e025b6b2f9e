"""Commands that look: list, show, check, runs, logs, preview, doctor; and the ones that set up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from calling import FAILS, FILES, THREE_STEPS, WAITS, CommandLine, read_until

FLOW_FIELDS = ["name", "label", "group", "mode", "status", "error", "version", "description", "source", "steps"]


def test_list_shows_the_broken_beside_the_working(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    cli.workspace.module("texts", FILES)
    cli.workspace.module("odd", "import nothing_of_that_name\n")
    done = cli("list")
    assert done.code == 0
    rows = {line.split()[1]: line for line in done.out.splitlines() if line[:1] in "✓✗" and line.strip()}
    assert rows["small"].startswith("✓")
    assert "Three small steps." in rows["small"]
    assert "files in inbox" in rows["texts"]
    assert rows["odd"].startswith("✗")
    assert "nothing_of_that_name" in rows["odd"]

    flows = {flow["name"]: flow for flow in cli("list", "--json").json["flows"]}
    assert set(flows) == {"small", "texts", "odd"}
    for flow in flows.values():
        assert set(FLOW_FIELDS) <= flow.keys()
    assert flows["small"]["mode"] == "manual"
    assert flows["odd"]["status"] == "broken"
    step = {"index": 0, "name": "first", "label": "First", "kind": "step", "use": None, "save_as": "one"}
    assert flows["small"]["steps"][0] == step


def test_list_of_nothing(cli: CommandLine) -> None:
    done = cli("list")
    assert done.code == 0
    assert done.out.startswith("There is no flow in flow_modules yet.")


def test_show_tells_the_plan_and_the_last_runs(cli: CommandLine) -> None:
    cli.workspace.module("texts", FILES)
    cli.workspace.file("inbox/a.txt", "alpha")
    assert "It has not run yet." in cli("show", "texts").out
    cli("run", "texts")
    done = cli("show", "texts", "--source")
    for said in ("when files arrive in inbox, looked at every 1 h; one run for each .txt file", "Read", "alpha"):
        assert said in done.out
    assert "def read(context):" in done.out
    found = cli("show", "texts", "--json").json
    assert found["plan"]["trigger"]["mode"] == "poll"
    assert [run["summary"] for run in found["runs"]] == ["alpha"]


def test_an_unknown_flow_brings_the_nearest_to_mind(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    done = cli("show", "smal")
    assert done.code == 3
    assert "Did you mean small?" in done.err


def test_check_tells_reasons_and_warnings(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    assert cli("check").code == 0
    cli.workspace.module(
        "warned",
        """
        from flowstead import Flow
        def build():
            return Flow("W").watch(mode="poll", source="../gone", interval="5s").step(look, use="raw", save_as="x")
        def look(context): ...
        """,
    )
    warned = cli("check", "warned")
    assert warned.code == 0
    assert "uses 'raw', which no step before it saves" in warned.out
    assert "flow_modules/warned.py:4" in warned.out
    assert "does not exist (yet)" in warned.out

    cli.workspace.module("odd", "from flowstead import Flow\nFlow('x').watch(mode='sometimes')\n")
    done = cli("check")
    assert done.code == 1
    assert "✗ odd" in done.out
    assert "flow_modules/odd.py:2" in done.out
    assert "3 flows checked, 1 broken, 1 with warnings." in done.out
    found = cli("check", "--json")
    assert found.code == 1
    codes = {flow["name"]: [warning["code"] for warning in flow["warnings"]] for flow in found.json["flows"]}
    assert codes == {"odd": [], "small": [], "warned": ["waypoint-unknown", "source-missing"]}
    assert cli("check", "small").code == 0


def test_pages_of_runs(cli: CommandLine) -> None:
    cli.workspace.module("texts", FILES)
    for number in range(7):
        cli.workspace.file(f"inbox/{number}.txt", "bad" if number == 3 else "good")
    cli("run", "texts")
    seen: list[str] = []
    cursor: list[str] = []
    while True:
        page = cli("runs", "--limit", "3", *cursor, "--json").json
        seen += [run["source_path"] for run in page["runs"]]
        if page["next"] is None:
            break
        cursor = ["--cursor", str(page["next"])]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 7
    (failed,) = cli("runs", "--status", "failed", "--flow", "texts", "--json").json["runs"]
    assert failed["source_path"] == "3.txt"
    assert "ValueError: 3.txt is bad" in cli("runs", "--status", "failed").out
    assert cli("runs", "--flow", "other").out == "There is no such run.\n"


def test_a_run_by_any_part_of_its_id(cli: CommandLine) -> None:
    cli.workspace.module("bad", FAILS)
    (run,) = cli("run", "bad", "--json").json["runs"]
    for part in (run["id"], run["id"][-8:], run["id"][2:]):
        assert cli("runs", "show", part, "--json").json["id"] == run["id"]
    shown = cli("runs", "show", run["id"][-8:]).out
    for said in ("✗ failed", run["id"], "ZeroDivisionError", "flow_modules/bad.py:10", "flowstead retry "):
        assert said in shown
    assert cli("runs", "show", "ffffffff").code == 3


def test_logs_hold_what_was_printed_in_its_place(cli: CommandLine, home: Path) -> None:
    cli.workspace.module("small", THREE_STEPS)
    (run,) = cli("run", "small", "--json").json["runs"]
    lines = cli("logs", run["id"]).out.splitlines()
    printed = next(at for at, line in enumerate(lines) if line.endswith("│ first is here"))
    assert "First started" in lines[printed - 1]
    assert "First succeeded" in lines[printed + 1]
    (file,) = home.glob(f"workspaces/*/runs/{run['id']}/events.ndjson")
    assert cli("logs", run["id"], "--json").out == file.read_text("utf-8")
    events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {"timestamp", "level", "event", "message", "data", "context"} <= events[0].keys()
    assert "first is here" in [event["message"] for event in events if event["event"] == "output"]


def test_logs_follow_and_cancel_reaches_another_process(cli: CommandLine) -> None:
    cli.workspace.module("slow", WAITS)
    running = cli.start("run", "slow")
    run_id = read_until(running, "started").split()[2]
    read_until(running, "✓ First")
    following = cli.start("logs", run_id, "-f")
    read_until(following, "Second started")
    cancelled = cli("cancel", run_id)
    assert cancelled.code == 0
    assert cli.end(following).code == 0
    done = cli.end(running)
    assert done.code == 1
    assert f"⊘ Run {run_id} of slow cancelled" in done.out
    (run,) = cli("runs", "--json").json["runs"]
    assert [step["status"] for step in run["steps"]] == ["succeeded", "cancelled", "pending"]
    again = cli("cancel", run_id)
    assert (again.code, "error[transition-refused]" in again.err) == (1, True)


def test_preview_gives_the_real_value_and_records_nothing(cli: CommandLine) -> None:
    cli.workspace.module(
        "frames",
        """
        import polars as pl
        from pathlib import Path
        from flowstead import Flow

        def build():
            return Flow("F").step(read, save_as="raw").step(items, save_as="items").step(late)

        def read(context):
            print("reading")
            return pl.DataFrame({"name": ["a", None, "c"], "value": [1, 2, 3]})

        def items(context):
            return {"rows": context.current.height}

        def late(context):
            Path("late.txt").write_text("ran")
        """,
    )
    done = cli("preview", "frames", "--use", "raw", "--rows", "2")
    assert done.code == 0
    assert done.err == "reading\n"
    assert "polars.DataFrame  3 rows, 2 columns" in done.out
    assert "null" in done.out
    assert "and 1 more row" in done.out
    value = cli("preview", "frames", "--use", "raw", "--json").json
    assert value["columns"] == [{"name": "name", "type": "String"}, {"name": "value", "type": "Int64"}]
    assert (value["rows"][1], value["total"]) == ([None, "2"], 3)
    assert cli("preview", "frames", "--use", "items", "--json").json["value"] == {"rows": 3}
    assert not (cli.workspace.flow_modules / "late.txt").exists()
    assert cli("runs", "--json").json["runs"] == []
    assert cli("preview", "frames", "--use", "nothing").code == 1


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("1 / 0", "step-failed", "ZeroDivisionError: division by zero"),
        ("import os; os._exit(7)", "preview-crashed", "status 7"),
    ],
)
def test_a_preview_that_fails_says_where(body: str, code: str, said: str, cli: CommandLine) -> None:
    cli.workspace.module(
        "bad", f"from flowstead import Flow\ndef build(): return Flow('B').step(go)\ndef go(context):\n    {body}\n"
    )
    done = cli("preview", "bad")
    assert done.code == 1
    assert f"error[{code}]: " in done.err
    assert said in done.err
    if code == "step-failed":
        assert "flow_modules/bad.py:4" in done.err


def test_an_interrupted_preview_leaves_no_process_behind(cli: CommandLine) -> None:
    import psutil

    cli.workspace.module(
        "slow",
        """
        import os, time
        from flowstead import Flow
        def build():
            return Flow("S").step(wait)
        def wait(context):
            print(f"pid {os.getpid()} ", flush=True)
            while True:
                time.sleep(0.01)
        """,
    )
    process = cli.start("preview", "slow")
    assert process.stderr is not None
    pid = int(process.stderr.readline().split()[1])
    done = cli.interrupt(process)
    assert (done.code, done.err) == (130, "Interrupted.\n")
    assert not psutil.pid_exists(pid)


def test_doctor_finds_what_is_wrong(cli: CommandLine, home: Path) -> None:
    cli.workspace.module("small", THREE_STEPS)
    well = cli("doctor")
    assert well.code == 0, well.out
    assert "All is well." in well.out

    cli("run", "small")
    cli.workspace.module("odd", "def")
    (home / "settings.toml").write_text("worker_slotz = 3\n")
    ill = cli("doctor", "--json")
    assert ill.code == 1
    checks = {check["name"]: check for check in ill.json["checks"]}
    assert checks["settings"]["status"] == "problem"
    assert checks["settings"]["hint"] == "Did you mean worker_slots?"
    (home / "settings.toml").unlink()
    assert "1 flow is broken: odd." in cli("doctor").out

    (ledger,) = home.glob("workspaces/*/ledger.sqlite3")
    data = bytearray(ledger.read_bytes())
    data[4096 : 4096 * 3] = b"\xff" * 8192
    ledger.write_bytes(data)
    damaged = cli("doctor")
    assert damaged.code == 1
    assert "ledger" in damaged.out
    assert "damaged" in damaged.out
    assert "Traceback" not in damaged.err


def test_a_home_that_cannot_be_written_is_a_coded_error(cli: CommandLine, tmp_path: Path) -> None:
    cli.workspace.module("small", THREE_STEPS)
    (tmp_path / "file").write_text("")
    for command in (["list"], ["run", "small"]):
        done = cli(*command, FLOWSTEAD_HOME=str(tmp_path / "file"))
        assert done.code == 1
        assert "error[home-unwritable]" in done.err
        assert "FLOWSTEAD_HOME" in done.err
    assert "✗ problem" in cli("doctor", FLOWSTEAD_HOME=str(tmp_path / "file")).out


def test_init_makes_a_workspace_that_runs(cli: CommandLine, tmp_path: Path) -> None:
    made = cli("init", "team/sales", cwd=tmp_path)
    assert made.code == 0
    root = tmp_path / "team" / "sales"
    assert "team/sales/flow_modules/first_flow.py" in made.out
    assert "cd team/sales" in made.out
    assert "run first_flow" in made.out
    assert cli("run", "first_flow", cwd=root).code == 0
    again = cli("init", ".", cwd=root)
    assert "nothing was missing" in again.out


def test_trust_is_asked_for_and_given(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    cli.workspace.flow_modules.chmod(0o777)
    refused = cli("list")
    assert refused.code == 4
    assert "error[workspace-untrusted]" in refused.err
    assert "flowstead workspace trust" in refused.err
    assert cli("doctor").code == 1
    assert cli("workspace", "trust").code == 0
    assert cli("list").code == 0
    assert cli("workspace").out.startswith(str(cli.workspace.root))


def test_nothing_is_written_into_the_workspace_but_its_own_state(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    shutil.rmtree(cli.workspace.flow_modules / "__pycache__", ignore_errors=True)
    before = sorted(cli.workspace.root.rglob("*"))
    for command in (["list"], ["show", "small"], ["check"], ["preview", "small"], ["doctor"]):
        assert cli(*command).code == 0
    assert sorted(cli.workspace.root.rglob("*")) == before, "looking leaves nothing at all"
    assert cli("run", "small").code == 0
    state = cli.workspace.root / ".workspace_state"
    assert sorted(path for path in cli.workspace.root.rglob("*") if state not in (path, *path.parents)) == before
