"""A worker process: loads one flow version, then executes runs of it, one at a time, until its engine is gone."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_LOOKS = 5.0


def main() -> int:
    from flowstead.worker.channel import PROTOCOL, Channel
    from flowstead.worker.printed_lines import PrintedLines

    # The flow must neither read frames nor write into them: the pipes move aside, its stdin is empty, and what it
    # prints goes, with native output and that of its children, to the pipe that the engine gave as stderr.
    channel = Channel(os.dup(0), os.dup(1))
    _replace(0, os.open(os.devnull, os.O_RDONLY))
    os.dup2(2, 1)
    sys.stdout = sys.__stdout__ = PrintedLines(sys.stdout.detach())  # type: ignore[union-attr, misc]
    sys.stderr = sys.__stderr__ = PrintedLines(sys.stderr.detach())  # type: ignore[union-attr, misc]
    ownership = _Ownership()
    _die_with_the_engine(channel, ownership)

    start = channel.receive()
    if start["protocol"] != PROTOCOL:
        channel.send({"type": "broken", "protocol": PROTOCOL, "error": _other_protocol(start["protocol"])})
        return 1
    _limit_memory(start.get("memory_mb"))
    if start.get("deadline"):
        ownership.deadline = Path(start["deadline"])
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


class _Ownership:
    """Whether the engine still owns the workspace, once it has told where that is written."""

    deadline: Path | None = None

    def is_over(self) -> bool:
        from flowstead.worker.deadline import has_passed

        return self.deadline is not None and has_passed(self.deadline)


def _die_with_the_engine(channel: Any, ownership: _Ownership) -> None:
    """Ends this process, and on POSIX its whole group, once its engine is gone or no longer owns the workspace.

    The engine is gone when nobody holds the other end of its pipe.
    """
    if sys.platform == "win32":
        import ctypes

        synchronize, timed_out = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, os.getppid())

        def watch() -> None:
            milliseconds = int(SECONDS_BETWEEN_LOOKS * 1000)
            while ctypes.windll.kernel32.WaitForSingleObject(handle, milliseconds) == timed_out:
                if ownership.is_over():
                    break
            os._exit(1)
    else:
        import select
        import signal

        # A terminal's Ctrl-C is for the engine, which then ends its workers in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

        def watch() -> None:
            poll = select.poll()
            poll.register(channel.read_fd, 0)  # no data, only the hang-up
            # Not until the deadline itself: a machine that sleeps wakes up with the rest of that time still to wait.
            while not poll.poll(SECONDS_BETWEEN_LOOKS * 1000) and not ownership.is_over():
                pass
            if os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=watch, name="engine-watch", daemon=True).start()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads that a flow left behind must not keep an idle worker alive
