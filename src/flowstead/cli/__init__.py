"""The command line."""

import sys


def main() -> int:
    """Runs the command that `sys.argv` names, and returns its exit code."""
    if sys.argv[1:] == ["--version"]:
        from flowstead.version import __version__

        print(f"flowstead {__version__}")
        return 0
    from flowstead.cli.app import run

    return run(sys.argv[1:])
