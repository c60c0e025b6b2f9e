"""A worker process: loads one flow version, then executes runs of it, one at a time, until its engine is gone."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any


def main() -> int:
    from flowstead.worker.channel import PROTOCOL, Channel

    # The flow must neither read frames nor write into them: the pipes move aside, its stdin is empty, and what it
    # prints goes, with native output and that of its children, to the pipe that the engine gave as stderr.
    channel = Channel(os.dup(0), os.dup(1))
    _replace(0, os.open(os.devnull, os.O_RDONLY))
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    _die_with_the_engine(channel)

    start = channel.receive()
    if start["protocol"] != PROTOCOL:
        channel.send({"type": "broken", "protocol": PROTOCOL, "error": _other_protocol(start["protocol"])})
        return 1
    _limit_memory(start.get("memory_mb"))
    origin, root = Path(start["origin"]), Path(start["workspace_root"])
    from flowstead.flow.loading import load_version

    try:
        os.chdir(origin.parent)
        flow = load_version(
            Path(start["version"]),
            Path(start["helpers"]) if start["helpers"] else None,
            origin=origin,
            stem=start["stem"],
            workspace_root=root,
        )
    except BaseException as error:
        from flowstead.worker.describe import explain

        channel.send({"type": "broken", "protocol": PROTOCOL, "error": explain(error, origin, root)})
        return 1
    channel.send({"type": "ready", "protocol": PROTOCOL})

    from flowstead.worker.runs import execute

    while True:
        try:
            frame = channel.receive()
        except EOFError:
            return 0
        if frame["type"] == "exit":
            return 0
        if frame["type"] == "run":
            execute(channel, flow, frame, root)
        elif frame["type"] == "preview":
            from flowstead.worker.preview import preview

            preview(channel, flow, frame, root)


def _replace(fd: int, new: int) -> None:
    os.dup2(new, fd)
    os.close(new)


def _other_protocol(number: Any) -> dict[str, Any]:
    return {
        "code": "protocol-mismatch",
        "type": "ProtocolError",
        "message": f"The engine speaks protocol {number}, which this environment's Flowstead does not.",
        "hint": "Use one version of Flowstead on both sides.",
    }


def _limit_memory(megabytes: int | None) -> None:
    if not megabytes or sys.platform == "win32":
        return
    import resource

    limit = megabytes << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _die_with_the_engine(channel: Any) -> None:
    """Ends this process, and on POSIX its whole group, once nobody holds the other end of the engine's pipe."""
    if sys.platform == "win32":
        import ctypes

        synchronize = 0x00100000
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, os.getppid())

        def watch() -> None:
            ctypes.windll.kernel32.WaitForSingleObject(handle, 0xFFFFFFFF)
            os._exit(1)
    else:
        import select
        import signal

        # A terminal's Ctrl-C is for the engine, which then ends its workers in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

        def watch() -> None:
            poll = select.poll()
            poll.register(channel.read_fd, 0)  # no data, only the hang-up
            while not poll.poll():
                pass
            if os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=watch, name="engine-watch", daemon=True).start()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads that a flow left behind must not keep an idle worker alive
