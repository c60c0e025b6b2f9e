"""What the shell offers when a name, an id or a status is half typed. Quick, and silent when it cannot know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

    from flowstead.client import Client


def flow_names(context: CompletionContext) -> list[str]:
    """The modules of the workspace."""
    with os.scandir(_root(context) / "flow_modules") as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    return sorted(
        name.rpartition(".")[0] for name in names if name.endswith((".py", ".ipynb")) and name[0] not in "._~"
    )


def run_ids(context: CompletionContext) -> Iterator[tuple[str, str]]:
    """The newest runs, each with what it is."""
    from flowstead.model.run import short_id

    with _client(context) as client:
        for run in client.runs(limit=30)["runs"]:
            yield short_id(run["id"]), f"{run['flow']} {run['source_path'] or ''} {run['status']}"


def waypoints(context: CompletionContext) -> list[str]:
    """What the steps of the flow before it on the line save."""
    with _client(context) as client:
        steps = client.flow(str(context["flow"].raw))["steps"]
    return [step["save_as"] for step in steps if step["save_as"]]


def step_names(context: CompletionContext) -> list[str]:
    """The steps of the run before it on the line."""
    with _client(context) as client:
        return [step["name"] for step in client.run(str(context["run"].raw))["steps"]]


def statuses(context: CompletionContext) -> tuple[str, ...]:
    from flowstead.model.run import STATUSES

    return STATUSES


def _root(context: CompletionContext) -> Any:
    from flowstead.workspace.layout import find_workspace

    try:
        chosen = context["workspace"].raw
    except KeyError:
        chosen = None
    return find_workspace(chosen=chosen)


def _client(context: CompletionContext) -> Client:
    from flowstead.cli.invocation import Invocation

    root = _root(context)
    return Invocation(root, context.argument).client(root, "completions", wait=False)  # type: ignore[arg-type]
