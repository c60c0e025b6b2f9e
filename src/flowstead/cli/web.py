"""`flowstead web`: the console, in a browser."""

from __future__ import annotations

import json as jsonlib
import sys

from flowstead.cli.invocation import Call
from flowstead.cli.screen import Screen
from flowstead.model.errors import WorkspaceNotFound
from flowstead.model.home import home


def web(*, no_browser: bool = False, json: bool = False, invocation: Call) -> int:
    """Open the console in a browser, signed in.

    Starts the daemon where none runs, and opens the workspace that is used here. The link works once, within a minute.

    Examples::

        flowstead web
        flowstead web --no-browser

    Parameters
    ----------
    no_browser
        Print the link, and open nothing.
    json
        Print {"url": ...}, and open nothing.
    """
    from flowstead.client.finding import transport_to
    from flowstead.client.launching import running_daemon
    from flowstead.client.machine_client import MachineClient

    info = running_daemon(home())
    with MachineClient(transport_to(info, home())) as machine:
        try:
            machine.open(invocation.root())
        except WorkspaceNotFound:
            pass  # the console shows the workspaces there are, or how to make one
        url = info.url + machine.launch_path()
    if json:
        print(jsonlib.dumps({"url": url}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if no_browser or not _open(url):
        screen.print(url)
        screen.print(screen.paint("The link works once, within a minute.", "dim"))
    else:
        screen.print(f"{screen.glyph('ok')} The console is open in your browser.")
    return 0


def _open(url: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
