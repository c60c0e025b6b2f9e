"""What becomes of runs, told in lines: the fold of their rows into what has not been said yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from flowstead.cli import words
from flowstead.cli.failures import message_of, where_and_hint
from flowstead.cli.screen import Screen, columns, look_of, one_line
from flowstead.model.run import ACTIVE, ENDED, STATUSES, short_id

Row = dict[str, Any]

SETTLED = frozenset((*ENDED, "interrupted"))
"""A run in one of these does not go on by itself."""

FEW = 20
"""Up to so many runs, each gets its own lines."""

_FAILURES_IN_FULL = 3


class Teller:
    """Tells of some runs that one command started; give it every row that it may not have seen.

    `resumed` are those that go on after an interruption. `command` makes a command of this workspace to copy.
    """

    endless = False
    """Whether there are always more runs to come."""

    def __init__(
        self, screen: Screen, root: Path, rows: Iterable[Row], resumed: Iterable[str], command: Callable[[str], str]
    ) -> None:
        self.screen = screen
        self.root = root
        self.rows: dict[str, Row] = {row["id"]: row for row in rows}
        self._first = dict(self.rows)
        self.begun_at: dict[str, float] = {}
        self._command = command
        self._began = time.monotonic()
        self._from = {run_id: _next_step(self.rows[run_id]) for run_id in resumed if run_id in self.rows}
        self._begun: set[tuple[str, int]] = set()
        self._steps: set[tuple[str, int, int, str]] = set()
        self._ended: set[str] = set()
        self._failures = 0
        # A resumed run, and a retry, come with steps that were told of when they ended.
        for run_id, row in self.rows.items():
            for step in row["steps"]:
                if run_id in self._from or (step["finished_at"] and step["finished_at"] < row["queued_at"]):
                    self._steps.add((run_id, step["index"], step["attempt"], step["status"]))
        self.single = len(self.rows) == 1
        few = len(self.rows) <= FEW
        self._tells_steps = self.single or (few and not screen.is_terminal)
        self._tells_ends = few or not screen.is_terminal
        self._tells_starts = not screen.is_terminal and few
        self._name_width = max([columns(self.name(row)) for row in self.rows.values()], default=0)
        self.label_width = max([columns(s["label"]) for row in self.rows.values() for s in row["steps"]], default=0)

    def name(self, row: Row) -> str:
        """What tells a run from the others of this command: its file, and its flow where there are several."""
        flows = {each["flow"] for each in self.rows.values()}
        source = row["source_path"] or ""
        return one_line(f"{row['flow']} {source}".strip() if len(flows) > 1 or not source else source)

    def counts(self) -> list[tuple[int, str]]:
        """How many runs are in which state, in the order of a run's life; `starting` counts as running."""
        found = Counter("running" if row["status"] == "starting" else row["status"] for row in self.rows.values())
        return [(found[status], status) for status in STATUSES if found[status]]

    def seen(self, row: Row) -> Iterator[str]:
        """Takes in a row; the lines that are new with it."""
        self.rows[row["id"]] = row
        run_id, status = row["id"], row["status"]
        if status in ACTIVE or status in SETTLED:
            self.begun_at.setdefault(run_id, time.monotonic())
        # Steps it takes up again are known only once it runs.
        if status not in ("queued", "starting") and (run_id, row["attempt"]) not in self._begun:
            self._begun.add((run_id, row["attempt"]))
            yield from self._start(row)
        if status == "queued" and row["waiting_for"] and not self.screen.is_terminal and self._tells_ends:
            yield f"{'' if self.single else short_id(run_id) + ' '}waiting for {one_line(row['waiting_for'])}"
        if self._tells_steps:
            yield from self._new_steps(row)
        if status in SETTLED and run_id not in self._ended:
            self._ended.add(run_id)
            yield from self._end(row)

    def totals(self) -> Iterator[str]:
        """The last line of several runs."""
        if self.single:
            return
        took = words.duration((time.monotonic() - self._began) * 1000)
        said = ", ".join(self.screen.paint(f"{number:,} {status}", look_of(status)) for number, status in self.counts())
        yield f"{words.count(len(self.rows), 'run')} in {took}: {said}"
        if self._failures > _FAILURES_IN_FULL:
            flows = {row["flow"] for row in self.rows.values()}
            only = f" --flow {flows.pop()}" if len(flows) == 1 else ""
            yield self.screen.paint(f"See them with: {self._command(f'runs{only} --status failed')}", "dim")

    # -- parts -------------------------------------------------------------------------------------------------

    def _start(self, row: Row) -> Iterator[str]:
        short, attempt = short_id(row["id"]), row["attempt"]
        if row["id"] in self._from and self._tells_ends:
            at = min(self._from.pop(row["id"]), _next_step(row))
            step = f" from step {row['steps'][at]['label']}" if at < len(row["steps"]) else ""
            name = "" if self.single else f" ({self.name(row)})"
            yield f"Continuing run {short}{name}{step}, attempt {attempt}"
        elif attempt > 1 and self._tells_ends:
            at = _next_step(row)
            step = f" from step {row['steps'][at]['label']}" if at < len(row["steps"]) else ""
            yield f"Run {short} lost its worker and goes on{step}, attempt {attempt}"
        elif self.single:
            retry = ""
            if row["retry_of"] and row["steps"]:
                first = row["steps"][min(_next_step(self._first[row["id"]]), len(row["steps"]) - 1)]["label"]
                retry = f", a retry of {short_id(row['retry_of'])} from step {first}"
            yield f"{self.screen.glyph('running')} Run {short} of {row['flow']}{_on(row)} started{retry}"
        elif self._tells_starts:
            yield f"{self.screen.glyph('running')} {short} {self.name(row)} started"

    def _new_steps(self, row: Row) -> Iterator[str]:
        for step in row["steps"]:
            key = (row["id"], step["index"], step["attempt"], step["status"])
            if step["status"] in ("pending", "running", "superseded") or key in self._steps:
                continue
            self._steps.add(key)
            indent = "  " if self.single else f"{short_id(row['id'])} "
            label = step["label"] + " " * (self.label_width - columns(step["label"]))
            took = words.duration(step["duration_ms"]).rjust(8)
            facts = "  ".join(_facts_of(step))
            line = f"{indent}{self.screen.glyph(step['status'])} {one_line(label)}  {took}  {facts}"
            yield line.rstrip()

    def _end(self, row: Row) -> Iterator[str]:
        failed = row["status"] in ("failed", "rejected")
        if not (self._tells_ends or failed):
            return
        self._failures += failed
        took = words.duration(self._milliseconds(row))
        if self.single:
            text = f"Run {short_id(row['id'])} of {row['flow']}{_on(row)} {row['status']}"
            if row["status"] != "cancelled":
                text += f" after {took}" if failed or row["status"] == "interrupted" else f" in {took}"
            line = f"{self.screen.plain_glyph(row['status'])} {text}"
            summary = f": {one_line(row['summary'])}" if row["summary"] and not failed else ""
            yield self.screen.paint(line, look_of(row["status"])) + summary
            if row["status"] == "succeeded":
                yield from self._outputs(row)
        else:
            yield self._end_of_many(row, took)
        if failed and (self.single or self._failures <= _FAILURES_IN_FULL):
            yield from self._failure(row)

    def _end_of_many(self, row: Row, took: str) -> str:
        status = "" if row["status"] == "succeeded" else row["status"]
        said = row["summary"] or ""
        if row["status"] in ("failed", "rejected"):
            said = message_of(row["error"]) if row["error"] and self._failures > _FAILURES_IN_FULL else ""
        name = self.name(row) + " " * (self._name_width - columns(self.name(row)))
        line = f"{short_id(row['id'])}  {name}  {took:>8}  "
        if self.screen.is_terminal:
            said = self.screen.cut(one_line(said), max(12, self.screen.width - columns(line) - len(status) - 4))
        word = self.screen.paint(status, look_of(row["status"])) + "  " if status else ""
        return f"{self.screen.glyph(row['status'])} {line}{word}{one_line(said)}".rstrip()

    def _milliseconds(self, row: Row) -> float | None:
        # Of a run that goes on, the time since it was first started says nothing to the person who waits.
        if row["attempt"] > 1 and row["id"] in self.begun_at:
            return (time.monotonic() - self.begun_at[row["id"]]) * 1000
        return row["duration_ms"]

    def _outputs(self, row: Row) -> Iterator[str]:
        paths = dict.fromkeys(step["output_path"] for step in row["steps"] if step["output_path"])
        arrow = "→" if self.screen.unicode else "->"
        for path in list(paths)[-3:]:
            yield f"  {arrow} {self.screen.paint(words.place(path, self.root), 'cyan')}"
        if row["artifacts"]:
            names = words.listed([one_line(each["name"]) for each in row["artifacts"][:4]])
            more = "" if len(row["artifacts"]) <= 4 else f" and {len(row['artifacts']) - 4} more"
            yield f"  {arrow} kept {names}{more}: {self._command('runs show ' + short_id(row['id']))}"

    def _failure(self, row: Row) -> Iterator[str]:
        error, short = row["error"], short_id(row["id"])
        if error:
            where = f"in {error['step']}: " if error.get("step") else ""
            head = self.screen.paint(f"error[{error['code']}]", "red")
            yield f"    {head} {one_line(where)}{_indented(message_of(error))}"
            for line in where_and_hint(self.screen, error):
                yield f"    {line}"
        again = self._command(f"retry {short}")
        yield f"    More: {self._command(f'logs {short}')} {self.screen.dot} Again: {again}"


def _on(row: Row) -> str:
    return f" on {one_line(row['source_path'])}" if row["source_path"] else ""


def _next_step(row: Row) -> int:
    """The index of the first step without a recorded outcome."""
    return next((step["index"] for step in row["steps"] if step["status"] != "succeeded"), len(row["steps"]))


def _facts_of(step: Row) -> Iterator[str]:
    if step["attempt"] > 1:
        yield f"attempt {step['attempt']}"
    if step["kind"] == "map" and step["items_total"]:
        done = "" if step["items_done"] == step["items_total"] else f"{step['items_done']:,} of "
        yield done + words.count(step["items_total"], "item")
        if step["items_failed"]:
            yield f"{step['items_failed']:,} failed"
    elif step["output_kind"] == "batch" and step["rows"] is not None:
        yield words.count(step["rows"], "file" if step["kind"] == "collect" else "item")
    elif step["rows"] is not None and "." in (step["output_kind"] or ""):
        yield words.count(step["rows"], "row")
    if step["status"] == "failed" and step["error"]:
        yield one_line(message_of(step["error"]))


def _indented(text: str) -> str:
    from flowstead.cli.screen import visible

    return visible(text.strip()).replace("\n", "\n      ")
