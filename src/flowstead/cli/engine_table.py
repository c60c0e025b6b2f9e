"""How the flows of a workspace stand that start by themselves, as a table; see the route `GET /engine`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowstead.cli import words
from flowstead.cli.screen import Cell, Column, Screen, look_of

_COLOURS = {"watching": "", "polling": "", "scheduled": "", "manual": "dim", "off": "dim", "starting": "dim"}


def print_flows(screen: Screen, status: dict[str, Any], root: Path) -> None:
    """A line for each flow, then what keeps flows from their work."""
    if status["trouble"]:
        screen.print(f"{screen.glyph('warning')} The modules could not be read: {status['trouble']}")
    rows: list[list[Cell]] = []
    for flow in status["flows"]:
        last = flow["last"]
        outcome: Cell = ""
        if last is not None:
            said = f"{screen.plain_glyph(last['status'])} {last['status']} {words.ago(last['at'])}"
            outcome = (said, look_of(last["status"]))
        rows.append([flow["flow"], (state_of(flow, root), _COLOURS.get(flow["state"], "amber")), outcome])
    screen.table([Column("FLOW"), Column("STATE", least=20), Column("LAST RUN")], rows)
    for flow in status["flows"]:
        if flow["condition"]:
            screen.print(f"{screen.glyph('warning')} {flow['flow']}: {flow['condition']}")


def state_of(flow: dict[str, Any], root: Path) -> str:
    """How a flow stands, in a few words."""
    place = "" if flow["source"] is None else words.place(flow["source"], root)
    since = f" since {words.moment(flow['since'])}" if flow["since"] else ""
    match flow["state"]:
        case "watching":
            return f"watching {place}"
        case "polling":
            return f"looking into {place} every {words.setting(flow['interval'])}"
        case "scheduled":
            return f"due {words.moment(flow['next_due'])}"
        case "missing" if flow["mode"] == "schedule":
            return f"due {words.moment(flow['next_due'])}, source missing"
        case "missing":
            return f"source missing{since}"
        case "unreadable":
            return f"source unreadable{since}"
        case "stuck":
            return f"stuck{since}"
        case "manual":
            return "by hand"
        case state:
            return state
