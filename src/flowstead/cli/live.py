"""Live progress on a terminal: a line for each run under way, below the lines that stay."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flowstead.cli import words
from flowstead.cli.screen import columns, look_of
from flowstead.cli.telling import Row, Teller
from flowstead.model.run import ACTIVE, short_id

_MOST_LINES = 8
_SUMMARY_ORDER = "running cancelling queued failed rejected interrupted cancelled"
_STYLES = {"amber": "yellow", "orange": "dark_orange"}


class LiveView:
    """Shows a teller's runs until it is left; redraws itself ten times a second."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._console = Console(file=teller.screen.stream, highlight=False, emoji=False, markup=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=10,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def print(self, lines: Iterable[str]) -> None:
        """Prints lines that stay, above the live ones."""
        for line in lines:
            self._console.print(Text.from_ansi(line), soft_wrap=True)

    def _render(self) -> RenderableType:
        teller = self._teller
        rows = list(teller.rows.values())
        active = [row for row in rows if row["status"] in ACTIVE]
        grid = Table.grid(padding=(0, 2), expand=False)
        for _ in range(5):
            grid.add_column(no_wrap=True, overflow="ellipsis")
        for row in active[:_MOST_LINES]:
            grid.add_row(*self._line(row))
        if teller.endless:
            return self._under_way(grid)
        if len(rows) == 1:
            waiting = rows[0]["waiting_for"] or "its turn"
            return grid if active else Text(f"  waiting for {waiting}", style="dim")
        whole = Table.grid()
        whole.add_row(grid)
        whole.add_row(self._summary(len(rows)))
        return whole

    def _under_way(self, active: Table) -> RenderableType:
        """Where there is no end to the runs, what is under way, and how many wait."""
        waiting = sum(number for number, status in self._teller.counts() if status == "queued")
        whole = Table.grid()
        whole.add_row(active)
        if waiting:
            whole.add_row(Text(f"{words.count(waiting, 'run')} waiting", style="dim"))
        return whole if waiting or active.row_count else Text("")

    def _line(self, row: Row) -> list[RenderableType]:
        teller, screen = self._teller, self._teller.screen
        begun = teller.begun_at.get(row["id"], time.monotonic())
        glyph = Text(screen.plain_glyph(row["status"]), style=_style(row["status"]))
        what = Text("" if teller.single else f"{short_id(row['id'])}  {teller.name(row)}")
        step = next((each for each in row["steps"] if each["status"] == "running"), None)
        label = step["label"] if step and row["status"] == "running" else row["status"]
        line: list[RenderableType] = [Text.assemble("  " if teller.single else "", glyph, " ", what), Text(label)]
        elapsed = time.monotonic() - begun
        if teller.single:
            padded = label + " " * (teller.label_width - columns(label))
            line = [Text.assemble("  ", glyph, " ", padded), ""]
            if step and step["started_at"]:
                elapsed = (datetime.now(UTC) - words.parsed(step["started_at"])).total_seconds()
        line += [*_progress(step), Text(words.duration(max(0.0, elapsed) * 1000), style="dim")]
        return line

    def _summary(self, total: int) -> Table:
        counts = self._teller.counts()
        done = sum(number for number, status in counts if status not in (*ACTIVE, "queued"))
        text = Text(f"{done:,} done")
        for number, status in sorted(counts, key=lambda each: _SUMMARY_ORDER.find(each[1])):
            if status == "queued":
                text.append(f", {number:,} waiting", style="dim")
            elif status in _SUMMARY_ORDER:
                text.append(", ").append(f"{number:,} {status}", style=_style(status))
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=total, completed=done, width=20, complete_style="blue", finished_style="blue")
        line.add_row(Text(words.count(total, "run")), bar, text)
        return line


def _progress(step: Row | None) -> tuple[RenderableType, RenderableType]:
    if step is None or step["items_done"] is None:
        return "", ""
    done, total = step["items_done"], step["items_total"]
    if not total:
        return "", Text(f"{done:,}")
    count = Text(f"{done:,}/{total:,}")
    if step["items_failed"]:
        count.append(f"  {step['items_failed']:,} failed", style="red")
    return ProgressBar(total=total, completed=done, width=20, complete_style="blue", finished_style="blue"), count


def _style(status: str) -> str:
    colour = look_of(status)
    return _STYLES.get(colour, colour)
