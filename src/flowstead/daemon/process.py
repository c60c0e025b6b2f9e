"""The daemon as a process: one for each home, from its lock to its end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.client.finding import COMMAND, DaemonInfo
from flowstead.daemon.log import log, start_log
from flowstead.model.errors import DaemonRunning, FlowsteadError, HomeUnwritable
from flowstead.model.home import home
from flowstead.model.lock import ProcessLock
from flowstead.model.lock_holder import note_of
from flowstead.model.run import OPEN
from flowstead.model.settings import Settings

if TYPE_CHECKING:
    from flowstead.daemon.endpoints import Endpoints
    from flowstead.daemon.machine import Machine
    from flowstead.daemon.opening import OpeningApp
    from flowstead.daemon.server import ApiServer

SECONDS_BETWEEN_LOOKS = 15.0
SECONDS_TO_TELL = 1.0
"""For how long those who watch are told how runs ended, before they are cut off."""

SECONDS_TO_NAME_HOLDER = 2.0


def serve(folder: Path, *, takes_stderr: bool, tell: Callable[[DaemonInfo], None]) -> None:
    """Serves the home `folder` until SIGTERM or SIGINT; calls `tell` once it listens.

    `takes_stderr` is that of start_log. Raises DaemonRunning when another process serves the home, HomeUnwritable, and
    FlowsteadError (`port-taken`, `settings-invalid`).
    """
    ending = _Ending()
    lock = _take_lock(folder)
    settings = Settings.load(folder)
    start_log(folder, megabytes=settings.daemon_log_mb, takes_stderr=takes_stderr)
    # Nothing that is imported in a daemon is garbage: to look for some takes a tenth of the time.
    gc.disable()
    from flowstead.daemon.endpoints import Endpoints
    from flowstead.daemon.opening import OpeningApp
    from flowstead.daemon.security import Security, token_of
    from flowstead.daemon.server import ApiServer

    security = Security(token_of(folder))
    endpoints = Endpoints(folder, settings.daemon_port)
    app = OpeningApp(endpoints.info, security)
    server = ApiServer(app, unix=endpoints.unix, tcp=endpoints.tcp)
    endpoints.announce()
    ending.leaves = endpoints
    keeper = _Keeper(app, server, ending, lock, grace=settings.daemon_grace)
    log("The daemon serves.", pid=os.getpid(), version=endpoints.info.version, url=endpoints.info.url)
    tell(endpoints.info)
    keeper.start()
    try:
        server.run()
    finally:
        ending.begin()
        keeper.join()
        if keeper.machine is not None:
            keeper.machine.close()
        endpoints.withdraw()
        lock.release()
        log("The daemon has ended.")
    if keeper.failure is not None:
        raise keeper.failure


def _take_lock(folder: Path) -> ProcessLock:
    """The lock of the home, which is made, and made private. Raises DaemonRunning, HomeUnwritable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise HomeUnwritable(f"Cannot make {folder} a private folder: {error.strerror}.") from error
    lock = ProcessLock(folder / "daemon.lock")
    if not lock.acquire(COMMAND):
        raise _running(lock.path)
    return lock


def _running(path: Path) -> DaemonRunning:
    deadline = time.monotonic() + SECONDS_TO_NAME_HOLDER
    while True:
        pid = note_of(path).get("pid")
        # Race: the holder may not have written its number yet, and then it is that of the one before it.
        if (pid and _is_alive(pid)) or time.monotonic() > deadline:
            break
        time.sleep(0.005)
    return DaemonRunning(f"A daemon serves {path.parent} already: process {pid}.", pid=pid)


def _is_alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid)


class _Ending:
    """What SIGTERM and SIGINT do: the first begins the end, the second one is the end, at once."""

    def __init__(self) -> None:
        self.leaves: Endpoints | None = None
        self._begun = threading.Event()
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        if not self._begun.is_set():
            self._begun.set()
            return
        if self.leaves is not None:
            self.leaves.withdraw()
        # Workers end themselves, with their groups, as soon as their engine is gone.
        os._exit(128 + number)

    def begin(self) -> None:
        self._begun.set()

    def has_begun(self, seconds: float = 0) -> bool:
        """Whether it has, or does so within `seconds`."""
        return self._begun.wait(seconds)


class _Keeper(threading.Thread):
    """Loads the application, opens what was open, closes what nobody needs, and conducts the end once it begins."""

    def __init__(self, app: OpeningApp, server: ApiServer, ending: _Ending, lock: ProcessLock, *, grace: float) -> None:
        super().__init__(name="keeper", daemon=True)
        self.machine: Machine | None = None
        self.failure: FlowsteadError | None = None
        self._app = app
        self._server = server
        self._ending = ending
        self._lock = lock
        self._grace = grace

    def run(self) -> None:
        try:
            machine = self._load()
            threading.Thread(target=_begin, args=(machine, self._ending), name="beginner", daemon=True).start()
            self._tend(machine)
            _let_finish(machine, self._grace)
            if self._app.app is not None:
                self._app.app.streams.settle(SECONDS_TO_TELL)
        except Exception as error:
            log("The daemon ends, for it failed.", level=logging.CRITICAL, error=error)
            self.failure = FlowsteadError(
                "The daemon failed.", code="internal-error", hint="See: flowstead daemon logs"
            )
        finally:
            self._server.stop()

    def _load(self) -> Machine:
        from flowstead.daemon.app import make_app
        from flowstead.daemon.machine import Machine

        self.machine = Machine(command=COMMAND)
        self.machine.on_stop = self._ending.begin
        self._app.app = make_app(self.machine, self._app.security)
        gc.freeze()
        gc.enable()
        return self.machine

    def _tend(self, machine: Machine) -> None:
        while not self._ending.has_begun(SECONDS_BETWEEN_LOOKS):
            try:
                for name in machine.tend():
                    log("A workspace was closed: nobody needed it.", workspace=name)
            except Exception as error:
                log("Closing an unused workspace failed.", level=logging.ERROR, error=error)
            if not self._lock.is_in_place():
                log("The home is gone, and with it the daemon's work.", level=logging.WARNING)
                return


def _let_finish(machine: Machine, grace: float) -> None:
    from flowstead.daemon.killing import let_finish

    engines = [engine for host in machine.hosts if (engine := host.open_engine) is not None]
    log("The daemon is stopped.", runs=sum(len(engine.dispatcher.active) for engine in engines), grace=grace)
    let_finish(engines, grace)


def _begin(machine: Machine, ending: _Ending) -> None:
    """In a thread: takes up what the last daemon has left."""
    _reopen(machine, ending)
    _fill_pool(machine, ending)


def _reopen(machine: Machine, ending: _Ending) -> None:
    """Opens the workspaces that were open when the daemon was last heard of, and lets runs go on there."""
    from flowstead.daemon.routes.engine import start_engine
    from flowstead.workspace.known import served_workspaces

    try:
        served = served_workspaces()
    except HomeUnwritable as error:
        log("The workspaces to open are not known.", level=logging.ERROR, reason=error.message)
        return
    for each in served:
        if ending.has_begun():
            return
        try:
            host = machine.open(each.root)
            resumed: list[str] = []
            if each.automated:
                start_engine(host)
            elif host.reader.open_runs(statuses=("interrupted", *OPEN)):
                waiting = host.reader.runs_by_id(host.reader.open_runs(statuses=("queued",)))
                resumed = host.engine.resume_interrupted()
                host.engine.dispatcher.include({run.flow for run in waiting})
            log("A workspace was opened again.", path=str(each.root), resumed=len(resumed))
        except FlowsteadError as error:
            level = logging.WARNING
            log("A workspace was not opened again.", level=level, path=str(each.root), reason=error.message)
        except Exception as error:
            log("Opening a workspace again failed.", level=logging.ERROR, error=error, path=str(each.root))


def _fill_pool(machine: Machine, ending: _Ending) -> None:
    """Lets the pool begin, where the settings want one: with workspaces open, for those come first."""
    if ending.has_begun():
        return
    try:
        settings = Settings.load(home())
        # Also without one: what an earlier daemon has kept ready is to be deleted.
        if settings.pool_uv or settings.pool_conda or (home() / "pool").exists():
            machine.pooling()
    except FlowsteadError as error:
        log("There is no pool.", level=logging.ERROR, reason=error.message)
    except Exception as error:
        log("The pool failed.", level=logging.ERROR, error=error)
