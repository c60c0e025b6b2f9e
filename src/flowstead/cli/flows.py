"""`flowstead list`, `show` and `check`: the flows of a workspace."""

from __future__ import annotations

import json as jsonlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from flowstead.cli import words
from flowstead.cli.completing import flow_names
from flowstead.cli.failures import message_of, where_and_hint
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Cell, Column, Screen, look_of, one_line
from flowstead.cli.tables import print_runs
from flowstead.model.errors import EnvironmentUnusable

FlowName = Annotated[str, Parameter(completer=flow_names)]


def list_flows(*, json: bool = False, invocation: Call) -> int:
    """List the flows of the workspace, the broken ones too.

    Examples::

        flowstead list
        flowstead list --json

    Parameters
    ----------
    json
        Print {"flows": [...]}.
    """
    root = invocation.root()
    with invocation.client(root, "list") as client:
        flows = client.flows()
    if json:
        print(jsonlib.dumps({"flows": flows}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if not flows:
        screen.print(f"There is no flow in {words.place(root / 'flow_modules')} yet.")
        screen.print(f"A first one comes with: {invocation.command(f'init {words.place(root)}')}")
        return 0
    heads = [Column(""), Column("FLOW"), Column("GROUP", least=6), Column("RUNS", least=12)]
    screen.table([*heads, Column("ABOUT", least=20)], [_line(screen, flow, root) for flow in flows])
    broken = [flow for flow in flows if flow["status"] == "broken"]
    if broken:
        screen.print()
        what = words.count(len(broken), "flow is", "flows are")
        screen.print(screen.paint(f"{what} broken. See why with: {invocation.command('check', root)}", "red"))
    if any(flow["status"] == "pending" for flow in flows):
        screen.print()
        screen.print(screen.paint("Running a flow builds its environment, where it is not built yet.", "dim"))
    return 0


def _line(screen: Screen, flow: dict[str, Any], root: Path) -> list[Cell]:
    glyph = (screen.plain_glyph(flow["status"]), look_of(flow["status"]))
    if flow["status"] == "broken":
        return [glyph, (flow["name"], "bold"), "", "", (message_of(flow["error"]), "red")]
    if flow["status"] == "pending":
        return [glyph, (flow["name"], "bold"), "", "", (message_of(flow["error"]), "dim")]
    about = (flow["description"] or flow["label"]).strip().partition("\n")[0]
    return [glyph, (flow["name"], "bold"), flow["group"], words.trigger(flow, root, short=True), about]


def show_flow(flow: FlowName, /, *, json: bool = False, source: bool = False, invocation: Call) -> int:
    """Show a flow: its steps, when it runs, what it asks for, and its last runs.

    Examples::

        flowstead show join_weather
        flowstead show join_weather --source

    Parameters
    ----------
    flow
        The flow's name: that of its module, without .py.
    source
        Print the module's text, too.
    json
        Print the flow as JSON, with its whole plan and text.
    """
    root = invocation.root()
    with invocation.client(root, f"show {flow}") as client:
        found = client.flow(flow)
    if json:
        print(jsonlib.dumps(found, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(f"{screen.paint(found['name'], 'bold')}  {found['label']}")
    if found["description"]:
        screen.print(found["description"].strip())
    screen.print()
    _facts(screen, found, root)
    if found["plan"] is None:
        _print_reasons(screen, found)
    else:
        _print_plan(screen, found["plan"])
    screen.print()
    if found["runs"]:
        print_runs(screen, found["runs"], of_one_flow=True)
    else:
        screen.print(f"It has not run yet. Run it with: {invocation.command(f'run {flow}', root)}")
    if source and found["text"] is not None:
        screen.print(f"\n{screen.paint(found['file'], 'cyan')}\n{found['text'].rstrip()}")
    return 0


def _facts(screen: Screen, flow: dict[str, Any], root: Path) -> None:
    facts = [("module", words.place(root / flow["file"], root))]
    if flow["version"]:
        facts.append(("version", flow["version"][:12]))
    if flow["status"] == "ok":
        plan = flow["plan"]
        facts += [("group", flow["group"]), ("runs", words.trigger(flow, root))]
        if plan["mirror"]:
            facts.append(("mirrors to", words.place(root / "flow_modules" / plan["mirror"], root)))
        if plan["timeout"]:
            facts.append(("time limit", words.setting(plan["timeout"])))
        if plan["resume"] != "auto":
            facts.append(("resumes", {"manual": "by hand", "never": "never"}[plan["resume"]]))
        facts += [("asks for" if at == 0 else "", _ask(each)) for at, each in enumerate(flow["params"])]
    screen.table([Column(""), Column("")], [[(name, "dim"), value] for name, value in facts])


def _ask(param: dict[str, Any]) -> str:
    kind = words.listed([str(each) for each in param["choices"]], "or") if param["choices"] else param["type"]
    text = f"{param['name']} ({kind}"
    if param["secret"]:
        text += ", secret"
    if param["required"]:
        text += ", required"
    elif param["default"] is not None:
        text += f", else {param['default']}"
    text += ")"
    return f"{text}: {param['label']}" if param["label"] else text


def _print_plan(screen: Screen, plan: dict[str, Any]) -> None:
    screen.print()
    heads = [Column("", right=True), Column("STEP", least=12), Column("KIND"), Column("USES"), Column("SAVES")]
    rows = [
        [
            (str(step["index"] + 1), "dim"),
            step["label"],
            step["kind"],
            step["use"] or "",
            step["save_as"] or "",
            (_options(step), "dim"),
        ]
        for step in plan["steps"]
    ]
    screen.table([*heads, Column("", least=12)], rows)


def _options(step: dict[str, Any]) -> str:
    said: list[str] = []
    if step["kind"] == "collect":
        where = f" in {step['root']}" if step["root"] else ""
        said.append(f"{words.listed(step['extensions'], 'or')} files{where}")
        if step["recursive"]:
            said.append("and below")
    if step["workers"] > 1:
        said.append(f"{step['workers']} at once")
    if step["on_error"] != "raise":
        said.append({"collect": "failed items are results", "skip": "failed items are left out"}[step["on_error"]])
    if step["retries"]:
        said.append(f"{words.count(step['retries'], 'retry', 'retries')} after {words.setting(step['retry_delay'])}")
    if step["timeout"]:
        said.append(f"at most {words.setting(step['timeout'])}")
    if step["checkpoint"] != "auto":
        said.append("always kept" if step["checkpoint"] else "never kept")
    return ", ".join(said)


def check(flow: FlowName | None = None, /, *, json: bool = False, invocation: Call) -> int:
    """Check one flow, or all, and say what is wrong.

    Loads each module and builds its plan, in a process of its own; its environment is built first, where it is not
    there. Exit code 1 if a flow is broken.

    Examples::

        flowstead check
        flowstead check join_weather

    Parameters
    ----------
    flow
        The flow to check; else all of them.
    json
        Print {"flows": [...]}, each with its error and its warnings.
    """
    root = invocation.root()
    with invocation.client(root, "check") as client:
        flows = client.check(flow)
        pending = [each["name"] for each in flows if each["status"] == "pending"]
        for name in pending:
            from flowstead.cli.preparing import prepare

            with suppress(EnvironmentUnusable):  # what is wrong with it is told below
                prepare(client, name, quiet=json)
        if pending:
            flows = client.check(flow)
    broken = sum(each["status"] == "broken" for each in flows)
    if json:
        print(jsonlib.dumps({"flows": flows}, indent=2))
        return 1 if broken else 0
    screen = Screen(sys.stdout)
    for each in flows:
        steps = "" if each["status"] == "broken" else f"  {words.count(len(each['steps']), 'step')}"
        screen.print(f"{screen.glyph(each['status'])} {screen.paint(each['name'], 'bold')}{screen.paint(steps, 'dim')}")
        if each["status"] == "broken":
            _print_reasons(screen, each)
        for warning in each["warnings"]:
            line = f":{warning['line']}" if warning["line"] else ""
            screen.print(f"    {screen.glyph('warning')} {one_line(warning['message'])}")
            screen.print(f"      {screen.paint(each['file'] + line, 'cyan')}")
    if len(flows) != 1:
        screen.print()
        warned = sum(bool(each["warnings"]) for each in flows)
        said = [f"{words.count(len(flows), 'flow')} checked"]
        said += [screen.paint(f"{broken} broken", "red")] if broken else []
        said += [screen.paint(f"{warned} with warnings", "amber")] if warned else []
        screen.print(", ".join(said) + ".")
    return 1 if broken else 0


def _print_reasons(screen: Screen, flow: dict[str, Any]) -> None:
    error = flow["error"]
    head = screen.paint(f"error[{error['code']}]:", "red")
    screen.print(f"    {head} {one_line(message_of(error))}")
    for line in where_and_hint(screen, error):
        screen.print(f"      {line}")
