"""`flowstead demo`: a collection of real flights, and the flows that make a report of them."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

from flowstead.cli import words
from flowstead.cli.following import follow, interrupt, say_interrupted
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Column, Screen
from flowstead.cli.starting import announce_start
from flowstead.demo import DemoLayout, answer, create_demo


def demo(path: Path | None = None, /, *, keep: bool = False, invocation: Call) -> int:
    """Run a demo on real data.

    January 2013's flights out of New York, from daily files to a delay report.

    Stop it half-way and run it again: it goes on where it stopped. Run it once more: there is nothing to do. Change
    one of its files: exactly what depends on it runs.

    Examples::

        flowstead demo
        flowstead demo /tmp/flights

    Parameters
    ----------
    path
        Where to lay it out (./flowstead-demo).
    keep
        Leave the demo's own files as they are; otherwise missing ones are written again.
    """
    signal.signal(signal.SIGTERM, interrupt)
    screen = Screen(sys.stdout)
    shown = words.place((path or Path("flowstead-demo")).expanduser().absolute())
    again = f"demo {shlex.quote(shown)}" if path is not None else "demo"
    layout = create_demo(path or Path("flowstead-demo"), restore=not keep)
    root = layout.workspace
    screen.print(screen.paint("January 2013's flights out of New York", "bold"))
    days = sum(1 for _ in layout.inbox.glob("*.csv"))
    screen.print(f"{words.count(days, 'daily file')} in {words.place(layout.inbox)}, flows in {words.place(root)}")
    ids: list[str] = []
    with invocation.client(root, again) as client:
        try:
            about = {flow["name"]: flow["description"] for flow in client.flows()}
            for name in layout.flows:
                screen.print(f"\n{screen.paint(name, 'bold')}  {about.get(name) or ''}".rstrip())
                started = client.start(name)
                ids += [*started["resumed"], *started["waiting"], *started["started"]]
                rows = follow(
                    invocation,
                    client,
                    root,
                    started,
                    lambda screen, started, rows, name=name: announce_start(
                        screen, started, rows, name, lambda text: invocation.command(text, root), root
                    ),
                )
                if not all(row["status"] == "succeeded" for row in rows):
                    screen.print(f"\nOnce that is put right, go on with: {invocation.command(again)}")
                    return 1
        except KeyboardInterrupt:
            client.close()
            return say_interrupted(invocation, root, invocation.command(again), ids)
    _show_results(screen, layout)
    screen.print("\nNext, try:")
    for text in (
        "runs --limit 5",
        "preview join_weather --use weather --rows 5",
        "run route_lookup -p origin=LGA -p day=2013-01-16",
    ):
        screen.print(f"  {invocation.command(text, root)}")
    return 0


def _show_results(screen: Screen, layout: DemoLayout) -> None:
    names, rows = answer(layout)
    screen.print(f"\n{screen.paint('The busiest carriers', 'bold')} (delays in minutes; late is from 15 minutes on)\n")
    heads = [Column(name, right=isinstance(value, int | float)) for name, value in zip(names, rows[0], strict=True)]
    screen.table(heads, [[_cell(value) for value in row] for row in rows], indent="  ")
    screen.print("\nResults:")
    results = [
        (layout.workbook, "the report"),
        (layout.picture, "its picture"),
        (layout.mart, "the DuckDB mart"),
        (layout.lake, "flights as Parquet"),
    ]
    screen.table(
        [Column(""), Column("")], [[(words.place(path), "cyan"), (text, "dim")] for path, text in results], indent="  "
    )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
