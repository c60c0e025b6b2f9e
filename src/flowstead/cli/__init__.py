"""The command line."""

import os
import sys


def main() -> None:
    """Runs the command that `sys.argv` names, and ends the process with its exit code."""
    if sys.argv[1:] == ["--version"]:
        from flowstead.version import __version__

        print(f"flowstead {__version__}")
        code = 0
    else:
        from flowstead.cli.app import run

        code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it has gone
    # Everything is closed by now; to take the interpreter apart as well costs a fifth of a short command's time.
    os._exit(code)
