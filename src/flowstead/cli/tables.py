"""Tables that more than one command prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowstead.cli import words
from flowstead.cli.failures import message_of
from flowstead.cli.screen import Cell, Column, Screen, look_of
from flowstead.model.run import short_id


def print_runs(screen: Screen, runs: Sequence[dict[str, Any]], *, of_one_flow: bool = False) -> None:
    """A line for each run; `of_one_flow` leaves the flow's name out."""
    has_source = any(run["source_path"] for run in runs)
    heads = [Column("RUN"), *([] if of_one_flow else [Column("FLOW", least=10)])]
    heads += [Column("FILE", least=11, from_left=True)] if has_source else []
    heads += [Column("STATUS"), Column("WHEN"), Column("TOOK", right=True), Column("SUMMARY", least=10)]
    rows: list[list[Cell]] = []
    for run in runs:
        status = f"{screen.plain_glyph(run['status'])} {run['status']}"
        row: list[Cell] = [short_id(run["id"]), *([] if of_one_flow else [run["flow"]])]
        row += [run["source_path"] or ""] if has_source else []
        row += [(status, look_of(run["status"])), words.ago(run["started_at"] or run["queued_at"])]
        row += [words.duration(run["duration_ms"]), summary_of(run)]
        rows.append(row)
    screen.table(heads, rows)


def summary_of(run: dict[str, Any]) -> str:
    """What a run said about itself, or why it did not succeed."""
    if run["status"] == "failed" and run["error"]:
        step = run["error"].get("step")
        return f"{step}: {message_of(run['error'])}" if step else message_of(run["error"])
    return run["summary"] or ""
