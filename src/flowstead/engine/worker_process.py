"""A worker as the engine holds it: a child process, the pipes to it, and the thread that listens to them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from flowstead.engine.lines import decode, encode
from flowstead.worker.channel import PROTOCOL

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

    from flowstead.catalog import FlowVersion
    from flowstead.environments.environment import Environment

_BLOCK = 1 << 16


class Listener(Protocol):
    """What a worker's thread tells the engine; one call at a time for each worker."""

    def on_frames(self, worker: WorkerProcess, frames: list[dict[str, Any]]) -> None: ...

    def on_output(self, worker: WorkerProcess, data: bytes) -> None: ...

    def on_exit(self, worker: WorkerProcess, returncode: int) -> None: ...


class WorkerProcess:
    """Starts a worker for one flow version and listens to it; `memory_mb` limits its address space (0: no limit).

    `python` is the interpreter, that of `environment` where the flow has one; None: the one that runs Flowstead.
    `deadline` is the file that tells the worker how long this engine owns the workspace (see worker.deadline).
    Everything that it and its children print comes through one pipe whose reading end is here, so nothing is lost
    when it dies.
    """

    def __init__(
        self,
        *,
        worker_id: str,
        version: FlowVersion,
        workspace_root: Path,
        python: str,
        memory_mb: int,
        listener: Listener,
        environment: Environment | None = None,
        deadline: Path | None = None,
    ) -> None:
        self.id = worker_id
        self.version = version.digest
        self.python = python
        self.environment = environment
        self.runs = 0
        self.ready = False
        self.lost_cause: str | None = None
        self._listener = listener
        self._sending = threading.Lock()
        self._ending = threading.Lock()
        self._reaped = False
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            options["start_new_session"] = True
        self.process = subprocess.Popen(
            # -P: nothing in the author's folder may shadow a module of the standard library.
            [python, "-P", "-m", "flowstead.worker", worker_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_variables(worker_id, environment),
            **options,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._stdin, self.frames, self.output = self.process.stdin, self.process.stdout, self.process.stderr
        self._rest = b""
        self.send(
            {
                "type": "start",
                "protocol": PROTOCOL,
                "version": str(version.folder),
                "helpers": str(version.helpers) if version.helpers else None,
                "origin": str(version.origin),
                "stem": version.name,
                "workspace_root": str(workspace_root),
                "memory_mb": memory_mb or None,
                "deadline": str(deadline) if deadline else None,
            }
        )
        self._thread = threading.Thread(target=self._listen, name=f"worker-{worker_id}", daemon=True)
        self._thread.start()

    def fits(self, version: str, python: str | None) -> bool:
        """Whether it can run that version with that interpreter."""
        return self.version == version and self.python == python

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, frame: dict[str, Any]) -> None:
        """Sends a frame. A worker that is gone takes none; its end is told by on_exit."""
        data = encode(frame)
        with self._sending:
            try:
                while data:
                    data = data[os.write(self._stdin.fileno(), data) :]
            except (OSError, ValueError):
                return

    def kill(self, cause: str) -> None:
        """Ends the worker and all of its process group at once. `cause` is what on_exit finds in `lost_cause`."""
        self.lost_cause = self.lost_cause or cause
        self._signal_group(_kill_group)

    def terminate(self, cause: str) -> None:
        """Asks the process group to end (SIGTERM); `kill` follows when it does not."""
        self.lost_cause = self.lost_cause or cause
        self._signal_group(_terminate_group)

    def _signal_group(self, send: Callable[[int], None]) -> None:
        with self._ending:
            # Race: once it is reaped, its number may be that of a stranger.
            if not self._reaped:
                send(self.pid)

    def join(self, timeout: float) -> bool:
        """Waits until on_exit has returned; tells whether it has."""
        if threading.current_thread() is self._thread:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- the listening thread ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        try:
            wait = _waiter(self)
            alive = True
            while alive:
                alive = wait()
                self._pass_on(self._read_frames())
        except ValueError:
            # No frame: the flow wrote into a pipe that is not its own.
            self.lost_cause = self.lost_cause or "garbled"
        finally:
            with self._ending:
                _kill_group(self.pid)  # children that outlived the worker
                returncode = self.process.wait()
                self._reaped = True
            if self.lost_cause != "retired":
                kill_leftovers({self.id})  # a child may have left the group for a session of its own
            self._drain_output(_read(self.output.fileno()))
            with self._sending:
                for pipe in (self._stdin, self.frames, self.output):
                    pipe.close()
            self._listener.on_exit(self, returncode)

    def _read_frames(self) -> list[dict[str, Any]]:
        chunks: list[bytes] = []
        while data := _read(self.frames.fileno()):
            chunks.append(data)
            if len(data) < _BLOCK:
                break
        if not chunks:
            return []
        lines = (self._rest + b"".join(chunks)).split(b"\n")
        self._rest = lines.pop()
        return [decode(line) for line in lines]

    def _pass_on(self, frames: list[dict[str, Any]]) -> None:
        """Passes on frames, and what was printed among them in its place: after the frame that began its step, and
        before the one that ended it, for by then it was in its pipe."""
        data = _read(self.output.fileno())
        if data:
            begun = 0
            while begun < len(frames) and frames[begun]["type"] in ("ready", "step_started"):
                begun += 1
            if begun:
                self._listener.on_frames(self, frames[:begun])
                frames = frames[begun:]
            self._drain_output(data)
        if frames:
            self._listener.on_frames(self, frames)

    def _drain_output(self, data: bytes) -> None:
        while data:
            self._listener.on_output(self, data)
            data = _read(self.output.fileno()) if len(data) == _BLOCK else b""


def _variables(worker_id: str, environment: Environment | None) -> dict[str, str]:
    """What the worker finds in its environment variables: that of Flowstead, with the flow's environment activated."""
    variables = {**os.environ, "FLOWSTEAD_WORKER": worker_id, "MPLBACKEND": os.environ.get("MPLBACKEND", "Agg")}
    if environment is None:
        return variables
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"):
        variables.pop(name, None)
    scripts = str(environment.python.parent)
    variables["PATH"] = os.pathsep.join([scripts, *filter(None, [os.environ.get("PATH")])])
    is_conda = (environment.folder / "conda-meta").is_dir()
    variables["CONDA_PREFIX" if is_conda else "VIRTUAL_ENV"] = str(environment.folder)
    variables["PYTHONNOUSERSITE"] = "1"
    return variables


def _kill_group(pid: int) -> None:
    if sys.platform == "win32":
        import psutil

        try:
            process = psutil.Process(pid)
            for each in [*process.children(recursive=True), process]:
                each.kill()
        except psutil.NoSuchProcess:
            pass
        return
    _signal_group(pid, signal.SIGKILL)


def _terminate_group(pid: int) -> None:
    if sys.platform == "win32":
        _kill_group(pid)
    else:
        _signal_group(pid, signal.SIGTERM)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


if sys.platform == "win32":

    def _read(fd: int) -> bytes:
        import ctypes
        import msvcrt

        available = ctypes.c_ulong()
        handle = msvcrt.get_osfhandle(fd)
        if not ctypes.windll.kernel32.PeekNamedPipe(handle, None, 0, None, ctypes.byref(available), None):
            return b""
        return os.read(fd, min(available.value, _BLOCK)) if available.value else b""

    def _waiter(worker: WorkerProcess) -> Callable[[], bool]:
        """Windows cannot wait for several pipes: a short wait on the process stands in for it."""

        def wait() -> bool:
            try:
                worker.process.wait(0.002)
            except subprocess.TimeoutExpired:
                return True
            return False

        return wait

else:

    def _read(fd: int) -> bytes:
        try:
            return os.read(fd, _BLOCK)
        except BlockingIOError:
            return b""

    def _waiter(worker: WorkerProcess) -> Callable[[], bool]:
        """Waits until there is something to read; tells whether the worker still lives.

        The end of a pipe is no sign of death: a child that the flow forked may hold it open. So the process itself is
        waited for, by descriptor where the system has that, else by looking once a second.
        """
        process = worker.process
        frames, output = worker.frames.fileno(), worker.output.fileno()
        poll = select.poll()
        for fd in (frames, output):
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)
        open_pipes = {frames, output}
        timeout: int | None = None
        pidfd: int | None = None
        try:
            pidfd = os.pidfd_open(process.pid)
            poll.register(pidfd, select.POLLIN)
        except (AttributeError, OSError):
            timeout = 1000

        def wait() -> bool:
            ready = poll.poll(timeout)
            for fd, event in ready:
                if fd in open_pipes and event & select.POLLHUP and not event & select.POLLIN:
                    poll.unregister(fd)  # closed by the worker: without this, poll would return at once for ever
                    open_pipes.discard(fd)
            if pidfd is not None:
                alive = not any(fd == pidfd for fd, _ in ready)
                if not alive:
                    os.close(pidfd)
                return alive
            return process.poll() is None

        return wait


def kill_leftovers(worker_ids: set[str]) -> int:
    """Kills every process that was started by, or as, one of these workers, which are gone or were ended by force.

    They are known by an environment variable that their children inherit. Returns how many were killed.
    """
    import psutil

    killed = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get("FLOWSTEAD_WORKER") in worker_ids:
                _kill_and_await(process)
                killed += 1
        except (psutil.Error, OSError):
            continue
    return killed


def _kill_and_await(process: psutil.Process) -> None:
    try:
        # It tells the death itself; psutil sees it only once whoever adopted the process has reaped it.
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        process.kill()
        process.wait(5)
        return
    try:
        process.kill()
        select.select([pidfd], [], [], 5)
    finally:
        os.close(pidfd)


def memory_of(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it is gone."""
    try:
        # Linux tells in one small file what psutil needs an import of 15 ms for.
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError):
        pass
    import psutil

    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
