"""`python -m flowstead.daemon` is the daemon. `flowstead daemon run` starts it so, `flowstead daemon start` beside it.

With `--tell` it says on its standard output, in a line of JSON, `{"daemon": {...}}` once it serves or `{"error":
{...}}` why it does not, and its standard error is `daemon.log`. Otherwise it says so to people.
"""

from __future__ import annotations

import json
import os
import sys

from flowstead.client.finding import DaemonInfo
from flowstead.daemon.log import to_nowhere
from flowstead.daemon.process import serve
from flowstead.model.errors import FlowsteadError
from flowstead.model.home import home


def main(arguments: list[str]) -> int:
    told = arguments == ["--tell"]
    folder = home()

    def tell(info: DaemonInfo) -> None:
        if told:
            print(json.dumps({"daemon": info.as_dict()}), flush=True)
            to_nowhere(sys.stdout, 1)
        else:
            print(f"The daemon serves {folder} at {info.url} (process {info.pid}). Ctrl-C stops it.", flush=True)

    try:
        serve(folder, takes_stderr=told, tell=tell)
    except FlowsteadError as error:
        if told:
            kind = type(error).__name__
            print(json.dumps({"error": {**error.as_dict(), "kind": kind}}, default=str), flush=True)
        else:
            hint = f"\n  hint: {error.hint}" if error.hint else ""
            print(f"error[{error.code}]: {error.message}{hint}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # A request that hangs in a thread must not keep a process alive that has closed everything.
    os._exit(code)
