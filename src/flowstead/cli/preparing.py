"""Waiting for a flow's environment: what a person sees while it is being built."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from flowstead.cli import words
from flowstead.cli.screen import Screen, visible
from flowstead.client import Client


def prepare(client: Client, flow: str, *, quiet: bool = False) -> dict[str, Any]:
    """Has the environment of a flow built, telling on stderr how far it is; returns `{python, digest}`.

    Raises what Client.prepare raises.
    """
    told = client.prepare(flow)
    screen = Screen(sys.stderr)
    if quiet:
        return _last(told)
    if screen.is_terminal:
        return _on_terminal(screen, told, flow)
    ready: dict[str, Any] = {}
    for each in told:
        if each is None:
            continue
        if "progress" in each:
            screen.print(f"{flow}: {visible(each['progress']['message'])}")
        ready = each.get("ready", ready)
    return ready


def _last(told: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    ready: dict[str, Any] = {}
    for each in told:
        ready = (each or {}).get("ready", ready)
    return ready


def _on_terminal(screen: Screen, told: Iterable[dict[str, Any] | None], flow: str) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    begun = time.monotonic()
    latest = "getting ready"

    def render() -> Text:
        elapsed = words.duration((time.monotonic() - begun) * 1000)
        return Text.assemble(
            ("  ", ""),
            (screen.plain_glyph("starting"), "blue"),
            f" environment of {flow}: {latest}  ",
            (elapsed, "dim"),
        )

    ready: dict[str, Any] = {}
    console = Console(file=screen.stream, highlight=False, emoji=False, markup=False)
    with Live(console=console, get_renderable=render, refresh_per_second=10, transient=True):
        for each in told:
            if each is not None and "progress" in each:
                latest = visible(each["progress"]["message"])
            ready = (each or {}).get("ready", ready)
    return ready
