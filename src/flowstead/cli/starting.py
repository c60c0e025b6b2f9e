"""`flowstead run`, `retry` and `resume`: start runs and watch them to their end."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from flowstead.cli import words
from flowstead.cli.completing import flow_names, run_ids, step_names
from flowstead.cli.following import Answer, announce_resumed, conduct
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Screen
from flowstead.cli.telling import Row
from flowstead.client import Client
from flowstead.model.errors import BuildFailed, EnvironmentPending, ParameterError


def run(
    flow: Annotated[str, Parameter(completer=flow_names)],
    /,
    *,
    param: Annotated[list[str] | None, Parameter(["--param", "-p"], metavar="NAME=VALUE")] = None,
    source: Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
    new: bool = False,
    key: str | None = None,
    json: bool = False,
    no_wait: bool = False,
    invocation: Call,
) -> int:
    """Run a flow, and watch it to its end.

    A flow with a source gets a run for each file that is new or has changed since its last run (or one for all of
    them). Runs that were interrupted go on first, from their last finished step.

    Examples::

        flowstead run first_flow
        flowstead run first_flow --param count=20
        flowstead run ingest_flights --source inbox/flights/flights-2013-01-05.csv --force
        flowstead run ingest_flights --json

    Parameters
    ----------
    flow
        The flow's name: that of its module, without .py.
    param
        A value that the flow asks for, as name=value. Can be given several times.
    source
        A file, or another folder, to take instead of the flow's own source.
    force
        Run all files, also those that have not changed.
    retry_failed
        Run files again whose last run failed, although they have not changed.
    new
        Start a new run, although an interrupted one could go on.
    key
        A name for this run. The same key gives the same run, however often it is asked for.
    json
        Print {"runs": [...]} at the end, and nothing before.
    no_wait
        Exit with code 4 when another process runs the workspace, instead of waiting for it.
    """
    fields: dict[str, Any] = {
        "params": params_of(param or []),
        "source": None if source is None else str(source.expanduser().absolute()),
        "force": force,
        "retry_failed": retry_failed,
        "new": new,
        "key": key,
    }
    root = invocation.root()

    def announce(screen: Screen, answer: Answer, rows: dict[str, Row]) -> None:
        announce_start(screen, answer, rows, flow, lambda text: invocation.command(text, root), root)

    def ask(client: Client) -> Answer:
        try:
            return client.start(flow, **fields)
        except EnvironmentPending:
            from flowstead.cli.preparing import prepare

            with suppress(BuildFailed):  # the run that is then started says so, and stays on record
                prepare(client, flow, quiet=json)
            return client.start(flow, **fields, prepared=True)

    return conduct(invocation, root, f"run {flow}", ask, announce, json=json, wait=not no_wait)


def params_of(given: list[str]) -> dict[str, str]:
    """`["name=value", ...]` as a dictionary. Raises ParameterError."""
    params: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise ParameterError(f"--param takes name=value, not {each!r}.", hint="As in: --param count=20")
        params[name.strip()] = value
    return params


def announce_start(
    screen: Screen, answer: Answer, rows: dict[str, Row], flow: str, command: Callable[[str], str], root: Path
) -> None:
    """Says what a start came to: what goes on, what is due, what is not and why."""
    announce_resumed(screen, answer)
    started, files = len(answer["started"]), answer["files"]
    going_on = answer["resumed"] or answer["waiting"]
    if files is None:
        if going_on and not started:
            screen.print(screen.paint(f"Start another run beside it with: {command(f'run {flow} --new')}", "dim"))
        return
    source = words.place(answer["source"], root) + (os.sep if os.path.isdir(answer["source"]) else "")
    if files == 0:
        screen.print(f"Nothing to do: there is no file for {flow} in {source}.")
    elif started and rows[answer["started"][0]]["source_path"] is None:
        screen.print(f"One run is due, for {words.count(files, 'file')} in {source}.")
    elif started:
        screen.print(f"{started:,} of {words.count(files, 'file')} in {source} {'is' if started == 1 else 'are'} due.")
    elif not going_on:
        unchanged = files - answer["failed_before"]
        if unchanged:
            are = "is" if unchanged == 1 else "are"
            since = "its" if unchanged == 1 else "their"
            screen.print(
                f"Nothing to do: {words.count(unchanged, 'file')} of {source} {are} unchanged since {since} last run."
            )
            them = "it" if unchanged == 1 else "them all"
            screen.print(screen.paint(f"Run {them} again with: {command(f'run {flow} --force')}", "dim"))
    failed = answer["failed_before"]
    if failed and not started:
        waits = "waits" if failed == 1 else "wait"
        said = f"{words.count(failed, 'file')} failed before and {waits} for a change, or for:"
        screen.print(f"{screen.glyph('warning')} {said} {command(f'run {flow} --retry-failed')}")


def retry(
    run: Annotated[str, Parameter(completer=run_ids)],
    /,
    *,
    from_: Annotated[str | None, Parameter(["--from"], completer=step_names)] = None,
    json: bool = False,
    no_wait: bool = False,
    invocation: Call,
) -> int:
    """Retry an ended run, from the step that failed or an earlier one.

    The retry is a run of its own; steps before its first one are not repeated.

    Examples::

        flowstead retry 7f3a91c2
        flowstead retry 7f3a91c2 --from "Read weather"

    Parameters
    ----------
    run
        The run's id, or a part of it that fits no other.
    from_
        The first step to run: its name, its label, or its number from 0.
    json
        Print {"runs": [...]} at the end, and nothing before.
    no_wait
        Exit with code 4 when another process runs the workspace, instead of waiting for it.
    """

    def announce(screen: Screen, answer: Answer, rows: dict[str, Row]) -> None:
        return

    return conduct(
        invocation,
        invocation.root(),
        f"retry {run}",
        lambda client: client.retry(run, from_step=from_),
        announce,
        json=json,
        wait=not no_wait,
    )


def resume(
    run: Annotated[str | None, Parameter(completer=run_ids)] = None,
    /,
    *,
    json: bool = False,
    no_wait: bool = False,
    invocation: Call,
) -> int:
    """Let interrupted runs go on from their last finished step.

    One run, or all of them; then also those that wait in the queue.

    Examples::

        flowstead resume
        flowstead resume 7f3a91c2

    Parameters
    ----------
    run
        The run's id, or a part of it that fits no other; without it, all interrupted runs.
    json
        Print {"runs": [...]} at the end, and nothing before.
    no_wait
        Exit with code 4 when another process runs the workspace, instead of waiting for it.
    """

    def announce(screen: Screen, answer: Answer, rows: dict[str, Row]) -> None:
        announce_resumed(screen, answer)
        if not answer["resumed"] and not answer["waiting"]:
            screen.print("Nothing to resume: no run was interrupted, and none waits.")

    return conduct(
        invocation,
        invocation.root(),
        "resume" if run is None else f"resume {run}",
        lambda client: client.resume(run),
        announce,
        json=json,
        wait=not no_wait,
    )
