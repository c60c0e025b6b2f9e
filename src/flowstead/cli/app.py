"""The commands there are, and the one place where they begin and end: parsing, errors, exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter

from flowstead.cli.failures import broken_pipe, interrupted, report, unexpected
from flowstead.cli.help import HelpFormat
from flowstead.cli.invocation import Invocation
from flowstead.model.errors import FlowsteadError, UsageError
from flowstead.version import __version__

EPILOGUE = """\
Exit codes: 0 all is well; 1 a run did not succeed, or something is wrong with a flow; 2 the command line is wrong; \
3 not found; 4 the workspace is in use by another process, or not trusted; 130 interrupted."""

_FLOWS = Group("Flows", sort_key=1)
_RUNS = Group("Runs", sort_key=2)
_SET_UP = Group("Set up", sort_key=3)
_OPTIONS = Group("Options", sort_key=9)

# Modules are imported when their command is called: what `list` needs, `run` does not, and the other way round.
_COMMANDS = (
    ("list", "flowstead.cli.flows:list_flows", _FLOWS),
    ("show", "flowstead.cli.flows:show_flow", _FLOWS),
    ("check", "flowstead.cli.flows:check", _FLOWS),
    ("run", "flowstead.cli.starting:run", _FLOWS),
    ("up", "flowstead.cli.up:up", _FLOWS),
    ("preview", "flowstead.cli.preview:preview", _FLOWS),
    ("web", "flowstead.cli.web:web", _FLOWS),
    ("runs", "flowstead.cli.runs:app", _RUNS),
    ("logs", "flowstead.cli.runs:logs", _RUNS),
    ("cancel", "flowstead.cli.runs:cancel", _RUNS),
    ("retry", "flowstead.cli.starting:retry", _RUNS),
    ("resume", "flowstead.cli.starting:resume", _RUNS),
    ("init", "flowstead.cli.setup:init", _SET_UP),
    ("demo", "flowstead.cli.demo:demo", _SET_UP),
    ("doctor", "flowstead.cli.setup:doctor", _SET_UP),
    ("workspace", "flowstead.cli.workspace:app", _SET_UP),
    ("env", "flowstead.cli.env:app", _SET_UP),
    ("daemon", "flowstead.cli.daemon:app", _SET_UP),
    ("engine", "flowstead.cli.engine:app", _SET_UP),
    ("pool", "flowstead.cli.pool:app", _SET_UP),
    ("jupyter", "flowstead.cli.jupyter:app", _SET_UP),
    ("completions", "flowstead.cli.setup:completions", _SET_UP),
)


def make_app() -> App:
    """The command line as Cyclopts knows it; `app.meta` takes the options that every command has."""
    app = App(
        name="flowstead",
        help="Run a folder of Python flows: recorded step by step, and safe against crashes.",
        version=__version__,
        help_format="plaintext",
        help_formatter=HelpFormat(),
        help_epilogue=EPILOGUE,
        default_parameter=Parameter(negative="", show_default=False),
        group_commands=_OPTIONS,
        group_parameters=_OPTIONS,
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app.meta.suppress_keyboard_interrupt = False
    for place, (name, target, group) in enumerate(_COMMANDS):
        app.command(target, name=name, group=group, sort_key=place)

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        workspace: Annotated[Path | None, Parameter(["--workspace", "-w"], group=_OPTIONS)] = None,
    ) -> Any:
        """
        Parameters
        ----------
        workspace
            The workspace to use; else FLOWSTEAD_WORKSPACE, else the nearest parent folder with flow_modules/.
        """
        command, bound, ignored = app.parse_args(tokens)
        invocation = {"invocation": Invocation(workspace, app)} if "invocation" in ignored else {}
        return command(*bound.args, **bound.kwargs, **invocation)

    return app


def run(arguments: list[str]) -> int:
    """Runs the command that `arguments` name, reports what went wrong with it, and returns the exit code."""
    as_json = "--json" in arguments
    try:
        app = make_app()
        if not arguments or arguments[0] in ("-h", "--help"):
            app.resolved_commands()  # their first lines stand in the help
        return app.meta(arguments) or 0
    except CycloptsError as error:
        return report(_usage(error), as_json=as_json)
    except FlowsteadError as error:
        return report(error, as_json=as_json)
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:
        return broken_pipe()
    except Exception as error:
        return report(unexpected(error), as_json=as_json)
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            broken_pipe()


def _usage(error: CycloptsError) -> UsageError:
    chain = " ".join(error.command_chain or ())
    return UsageError(str(error), hint=f"See: flowstead {chain + ' ' if chain else ''}--help")
