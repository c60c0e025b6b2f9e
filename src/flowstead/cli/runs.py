"""`flowstead runs`, `runs show`, `logs` and `cancel`."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from flowstead.cli import words
from flowstead.cli.completing import flow_names, run_ids, statuses
from flowstead.cli.failures import message_of, where_and_hint
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Cell, Column, Screen, columns, look_of, one_line, visible
from flowstead.cli.tables import print_runs
from flowstead.model.run import short_id

_TOLD_ELSEWHERE = ("run_id", "started_at_utc", "step_outputs")

RunId = Annotated[str, Parameter(completer=run_ids)]

app = App(name="runs", group_commands=Group("Commands"))


@app.default
def list_runs(
    *,
    flow: Annotated[str | None, Parameter(completer=flow_names)] = None,
    status: Annotated[str | None, Parameter(completer=statuses)] = None,
    limit: int = 20,
    cursor: int | None = None,
    json: bool = False,
    invocation: Call,
) -> int:
    """List runs, newest first, or show one: runs show RUN.

    Examples::

        flowstead runs
        flowstead runs --flow ingest_flights --status failed
        flowstead runs show 7f3a91c2

    Parameters
    ----------
    flow
        Only runs of this flow.
    status
        Only runs in this state: queued, running, succeeded, failed, cancelled, interrupted, ...
    limit
        How many runs at most (20).
    cursor
        Where the page before this one ended: its "next".
    json
        Print {"runs": [...], "next": CURSOR or null}.
    """
    root = invocation.root()
    with invocation.client(root, "runs") as client:
        page = client.runs(flow=flow, status=status, limit=limit, cursor=cursor)
    if json:
        print(jsonlib.dumps({"runs": page["runs"], "next": page["next"]}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if page["runs"]:
        print_runs(screen, page["runs"])
    else:
        screen.print("There is no such run." if flow or status or cursor else "Nothing has run here yet.")
    if page["next"] is not None and screen.is_terminal:
        chosen = f" --flow {flow}" if flow else ""
        chosen += f" --status {status}" if status else ""
        more = invocation.command(f"runs{chosen} --limit {limit} --cursor {page['next']}", root)
        screen.print(screen.paint(f"Older ones: {more}", "dim"))
    return 0


@app.command(name="show")
def show_run(run: RunId, /, *, json: bool = False, invocation: Call) -> int:
    """Show a run: its steps, what came of it, and what went wrong.

    Examples::

        flowstead runs show 7f3a91c2

    Parameters
    ----------
    run
        The run's id, or a part of it that fits no other.
    json
        Print the run as JSON.
    """
    root = invocation.root()
    with invocation.client(root, "runs show") as client:
        found = client.run(run)
    if json:
        print(jsonlib.dumps(found, indent=2))
        return 0
    screen = Screen(sys.stdout)
    short = short_id(found["id"])
    head = f"Run {screen.paint(short, 'bold')} of {screen.paint(found['flow'], 'bold')}"
    screen.print(f"{head}  {screen.status(found['status'])}")
    if found["summary"]:
        screen.print(visible(found["summary"]))
    screen.print()
    screen.table([Column(""), Column("")], [[(name, "dim"), value] for name, value in _facts(found)])
    screen.print()
    _print_steps(screen, found, root)
    if found["error"] and found["status"] != "cancelled":
        _print_error(screen, found["error"])
    if found["artifacts"]:
        screen.print()
        screen.print(f"Kept in {screen.paint(words.place(Path(found['folder']) / 'artifacts'), 'cyan')}:")
        rows = [[(Path(each["path"]).name, "cyan"), each["name"], (each["kind"], "dim")] for each in found["artifacts"]]
        screen.table([Column(""), Column(""), Column("")], rows, indent="  ")
    screen.print()
    for name in found["actions"]:
        screen.print(screen.paint(f"{name.capitalize()} it with: {invocation.command(f'{name} {short}', root)}", "dim"))
    screen.print(screen.paint(f"Read its log with: {invocation.command(f'logs {short}', root)}", "dim"))
    return 0


def _facts(run: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("id", run["id"])]
    if run["source_path"]:
        facts.append(("file", run["source_path"]))
    started = run["started_at"] or run["queued_at"]
    when = f"{words.moment(started)} ({words.ago(started)})"
    if run["duration_ms"] is not None:
        when += f", took {words.duration(run['duration_ms'])}"
    facts.append(("started" if run["started_at"] else "queued", when))
    facts.append(("trigger", run["trigger"]))
    if run["attempt"] > 1:
        facts.append(("attempt", str(run["attempt"])))
    if run["retry_of"]:
        facts.append(("retry of", short_id(run["retry_of"])))
    if run["key"]:
        facts.append(("key", run["key"]))
    facts.append(("version", run["version"][:12]))
    if run["params"]:
        facts.append(("params", ", ".join(f"{name}={value}" for name, value in run["params"].items())))
    told = [(name, value) for name, value in run["metadata"].items() if name not in _TOLD_ELSEWHERE]
    facts += [("" if at else "metadata", f"{name}={value}") for at, (name, value) in enumerate(told)]
    return facts


def _print_steps(screen: Screen, run: dict[str, Any], root: Path) -> None:
    rows: list[list[Cell]] = []
    for step in run["steps"]:
        items = ""
        if step["items_done"] is not None:
            items = (
                f"{step['items_done']:,} of {step['items_total']:,}" if step["items_total"] else str(step["items_done"])
            )
            items += f", {step['items_failed']:,} failed" if step["items_failed"] else ""
        elif step["rows"] is not None:
            items = f"{step['rows']:,}"
        tries = f"attempt {step['attempt']}" if step["attempt"] > 1 else ""
        output = words.place(step["output_path"], root) if step["output_path"] else tries
        status = (f"{screen.plain_glyph(step['status'])} {step['status']}", look_of(step["status"]))
        rows.append([step["label"], status, words.duration(step["duration_ms"]), items, output])
    heads = [Column("STEP", least=12), Column("STATUS"), Column("TOOK", right=True)]
    screen.table([*heads, Column("ITEMS", right=True), Column("OUTPUT", least=12, from_left=True)], rows)
    for step in run["steps"]:
        for item in step.get("failed_items") or ():
            error = item["error"] or {}
            message = one_line(message_of(error)) if error else item["status"]
            screen.print(f"  {screen.glyph('failed')} {step['label']}, item {item['item']}: {message}")


def _print_error(screen: Screen, error: dict[str, Any]) -> None:
    screen.print()
    where = f"in {error['step']}: " if error.get("step") else ""
    head = screen.paint(f"error[{error['code']}]", "red" if error["code"] != "interrupted" else "orange")
    screen.print(f"{head} {where}{visible(message_of(error))}")
    for line in where_and_hint(screen, error):
        screen.print(f"  {line}")


def logs(
    run: RunId,
    /,
    *,
    follow: Annotated[bool, Parameter(["--follow", "-f"])] = False,
    json: bool = False,
    invocation: Call,
) -> int:
    """Print the log of a run.

    It tells what happened, and what the flow printed, in one order.

    Examples::

        flowstead logs 7f3a91c2
        flowstead logs 7f3a91c2 -f

    Parameters
    ----------
    run
        The run's id, or a part of it that fits no other.
    follow
        Go on until the run ends.
    json
        Print the log's lines as they are, one JSON object each.
    """
    root = invocation.root()
    screen = Screen(sys.stdout)
    with invocation.client(root, f"logs {run}") as client:
        width = 0
        if not json:
            labels = [step["name"] for step in client.run(run)["steps"]]
            width = max((columns(each) for each in labels), default=0)
        for line in client.log(run, follow=follow):
            if line is None:
                screen.stream.flush()
            elif json:
                screen.stream.write(jsonlib.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            else:
                screen.stream.write(_log_line(screen, line, width) + "\n")
    return 0


_LEVELS = {"debug": "dim", "info": "", "warning": "amber", "error": "red", "critical": "red"}


def _log_line(screen: Screen, line: dict[str, Any], width: int) -> str:
    time = words.parsed(line["timestamp"]).astimezone()
    step = line["context"].get("step") or ""
    name = step + " " * (width - columns(step))
    message = visible(line["message"])
    if line["event"] == "log":
        message += "".join(f"  {key}={value}" for key, value in line["data"].items())
    if line["event"] != "output":
        message = screen.paint(message, _LEVELS.get(line["level"], ""))
    mark = ("│" if screen.unicode else "|") if line["event"] == "output" else " "
    return f"{screen.paint(f'{time:%H:%M:%S}.{time.microsecond // 1000:03d}', 'dim')}  {name} {mark} {message}".rstrip()


def cancel(run: RunId, /, *, json: bool = False, invocation: Call) -> int:
    """Cancel a run.

    One that waits is cancelled at once, one under way between steps or items, or by force after a grace time.

    Examples::

        flowstead cancel 7f3a91c2

    Parameters
    ----------
    run
        The run's id, or a part of it that fits no other.
    json
        Print the run as JSON.
    """
    root = invocation.root()
    with invocation.client(root, f"cancel {run}") as client:
        found = client.cancel(run)
    if json:
        print(jsonlib.dumps(found, indent=2))
        return 0
    screen = Screen(sys.stdout)
    short = short_id(found["id"])
    if found["status"] == "cancelling":
        after = "It stops between steps or items, and is ended by force after the grace time."
        screen.print(f"{screen.glyph('cancelling')} Run {short} of {found['flow']} is being cancelled. {after}")
    else:
        screen.print(f"{screen.glyph(found['status'])} Run {short} of {found['flow']} is {found['status']}.")
    return 0
