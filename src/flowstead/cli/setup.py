"""`flowstead init`, `doctor` and `completions`."""

from __future__ import annotations

import json as jsonlib
import os
import shlex
import sys
from pathlib import Path
from typing import Literal

from cyclopts import App, Group

from flowstead.cli import words
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Screen, look_of, visible
from flowstead.model.errors import FlowsteadError, UsageError

Shell = Literal["bash", "zsh", "fish", "powershell"]


def init(path: Path, /, *, invocation: Call) -> int:
    """Make a folder a workspace.

    Makes flow_modules, config, databases, editor settings, and a first flow. Only adds what is missing: files
    that exist are never touched.

    Examples::

        flowstead init sales
        flowstead init .

    Parameters
    ----------
    path
        The folder, made if it does not exist. Its parent is where further workspaces go.
    """
    from flowstead.workspace.provision import provision

    root = path.expanduser().absolute()
    created = provision(root)
    screen = Screen(sys.stdout)
    shown = words.place(root)
    if not created:
        screen.print(f"{screen.glyph('ok')} {shown} is a workspace already; nothing was missing.")
    else:
        screen.print(f"{screen.glyph('ok')} {screen.paint(shown, 'bold')} is a workspace. Made:")
        for each in created:
            screen.print(f"    {words.place(each)}{os.sep if each.is_dir() else ''}")
    flows = sorted(each.stem for each in (root / "flow_modules").glob("*.py") if each.name[0] not in "_.")
    screen.print("\nNext:")
    if root != Path.cwd():
        screen.print(f"  cd {shlex.quote(shown)}")
    program = invocation.command("").strip()
    screen.print(f"  {program} list")
    if flows:
        screen.print(f"  {program} run {'first_flow' if 'first_flow' in flows else flows[0]}")
    return 0


def doctor(*, json: bool = False, invocation: Call) -> int:
    """Look for what can keep flows from running.

    Looks at the home folder, disks, settings, trust, the ledger, the lock and the flows. Exit
    code 1 if there is a problem.

    Examples::

        flowstead doctor

    Parameters
    ----------
    json
        Print {"checks": [...]}.
    """
    root = invocation.root()
    with invocation.client(root, "doctor") as client:
        checks = client.doctor()
    problems = sum(check["status"] == "problem" for check in checks)
    if json:
        print(jsonlib.dumps({"checks": checks}, indent=2))
        return 1 if problems else 0
    screen = Screen(sys.stdout)
    for check in checks:
        mark = screen.paint(f"{screen.plain_glyph(check['status'])} {check['status']:<7}", look_of(check["status"]))
        screen.print(f"{mark}  {visible(check['message'])}")
        if check["hint"]:
            screen.print(f"           {screen.paint('hint:', 'bold')} {visible(check['hint'])}")
    screen.print()
    warnings = sum(check["status"] == "warning" for check in checks)
    if problems or warnings:
        said = [screen.paint(words.count(problems, "problem"), "red")] if problems else []
        said += [screen.paint(words.count(warnings, "warning"), "amber")] if warnings else []
        screen.print(f"{words.listed(said)}.")
    else:
        screen.print(screen.paint("All is well.", "green"))
    return 1 if problems else 0


completions = App(
    name="completions", help="Let the shell complete commands, flows, runs and steps.", group_commands=Group("Commands")
)


@completions.command(name="install")
def install_completions(shell: Shell | None = None, /, *, invocation: Call) -> int:
    """Install completions for a shell, and load them from its start-up file.

    Examples::

        flowstead completions install
        flowstead completions install zsh

    Parameters
    ----------
    shell
        bash, zsh, fish or powershell; without it, the shell that called.
    """
    chosen = _shell(shell)
    try:
        path = invocation.app.install_completion(shell=chosen)
    except OSError as error:
        hint = f"Print them instead with: flowstead completions generate {chosen}"
        raise FlowsteadError(
            f"Cannot install completions: {error}.", code="completions-unwritable", hint=hint
        ) from error
    print(f"Completions for {chosen} are in {path}. They work in the next shell you open.")
    return 0


@completions.command(name="generate")
def generate_completions(shell: Shell | None = None, /, *, invocation: Call) -> int:
    """Print the completion script of a shell.

    Examples::

        flowstead completions generate bash > flowstead.bash

    Parameters
    ----------
    shell
        bash, zsh, fish or powershell; without it, the shell that called.
    """
    print(invocation.app.generate_completion(shell=_shell(shell)))
    return 0


def _shell(chosen: Shell | None) -> Shell:
    from cyclopts.completion import detect_shell

    if chosen is not None:
        return chosen
    try:
        return detect_shell()
    except Exception as error:
        raise UsageError(f"Which shell? {error}", hint="Name it: bash, zsh, fish or powershell.") from error
