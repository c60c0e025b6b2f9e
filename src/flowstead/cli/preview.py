"""`flowstead preview`: run a flow up to a waypoint, and look at the value."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from flowstead.cli import words
from flowstead.cli.completing import flow_names, waypoints
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Cell, Column, Screen, one_line, visible
from flowstead.cli.starting import params_of

_NUMBERS = ("int", "float", "decimal", "double", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64")


def preview(
    flow: Annotated[str, Parameter(completer=flow_names)],
    /,
    *,
    use: Annotated[str | None, Parameter(completer=waypoints)] = None,
    rows: int = 10,
    param: Annotated[list[str] | None, Parameter(["--param", "-p"], metavar="NAME=VALUE")] = None,
    json: bool = False,
    invocation: Call,
) -> int:
    """Run a flow up to a waypoint, and show the value.

    Nothing is recorded. Of a flow with source files, the first is taken. What the flow prints goes to stderr.

    Examples::

        flowstead preview first_flow --use squares
        flowstead preview join_weather --use weather --rows 5

    Parameters
    ----------
    flow
        The flow's name: that of its module, without .py.
    use
        The waypoint (save_as=) to stop at; without it, the flow runs to its end.
    rows
        How many rows or items to show (10).
    param
        A value that the flow asks for, as name=value. Can be given several times.
    json
        Print the value's description as JSON.
    """
    root = invocation.root()
    value: dict[str, Any] = {}
    with invocation.client(root, f"preview {flow}") as client:
        if client.flow(flow, runs=0)["status"] == "pending":
            from flowstead.cli.preparing import prepare

            prepare(client, flow, quiet=json)
        for told in client.preview(flow, use=use, rows=rows, params=params_of(param or [])):
            if told is None:
                continue
            if "output" in told:
                print(visible(told["output"]), end="", file=sys.stderr, flush=True)
            else:
                value = told["value"]
    if json:
        print(jsonlib.dumps(value, indent=2))
        return 0
    _show(Screen(sys.stdout), value)
    return 0


def _show(screen: Screen, value: dict[str, Any]) -> None:
    match value["kind"]:
        case "frame":
            _show_frame(screen, value)
        case "items":
            screen.print(screen.paint(f"{value['type']} of {words.count(value['total'], 'item')}", "bold"))
            for number, item in enumerate(value["items"]):
                screen.print(f"{screen.paint(f'{number:>4}', 'dim')}  {screen.cut(one_line(item), screen.width - 6)}")
            _say_more(screen, value["total"] - len(value["items"]), "item")
        case "json":
            screen.print(screen.paint(value["type"], "bold"))
            screen.print(jsonlib.dumps(value["value"], indent=2, ensure_ascii=False))
        case _:
            screen.print(screen.paint(value["type"], "bold"))
            screen.print(visible(value["text"]))


def _show_frame(screen: Screen, value: dict[str, Any]) -> None:
    shape = f"{words.count(value['total'], 'row')}, {words.count(len(value['columns']), 'column')}"
    screen.print(f"{screen.paint(value['type'], 'bold')}  {shape}")
    screen.print()
    right = [column["type"].lower().startswith(_NUMBERS) for column in value["columns"]]
    heads = [Column(one_line(column["name"]), at) for column, at in zip(value["columns"], right, strict=True)]
    rows: list[list[Cell]] = [[(column["type"], "dim") for column in value["columns"]]]
    rows += [[("null", "dim") if cell is None else cell for cell in row] for row in value["rows"]]
    shown = _fitting(screen, heads, rows)
    screen.table(heads[:shown], [row[:shown] for row in rows])
    _say_more(screen, value["total"] - len(value["rows"]), "row")
    if shown < len(heads):
        left = words.listed([head.title for head in heads[shown:]])
        screen.print(screen.paint(f"and {words.count(len(heads) - shown, 'more column')}: {left}", "dim"))


def _fitting(screen: Screen, heads: list[Column], rows: list[list[Cell]]) -> int:
    """How many columns, from the left, the terminal has room for; a file has it for all."""
    if not screen.is_terminal:
        return len(heads)
    used = 0
    for at, head in enumerate(heads):
        texts = [cell if isinstance(cell, str) else cell[0] for cell in (row[at] for row in rows)]
        used += max(len(head.title), *map(len, texts)) + 2
        if used - 2 > screen.width:
            return max(1, at)
    return len(heads)


def _say_more(screen: Screen, number: int, noun: str) -> None:
    if number > 0:
        screen.print(screen.paint(f"and {words.count(number, f'more {noun}')}", "dim"))
