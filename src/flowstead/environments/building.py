"""Building environments: one build per digest, however many threads and processes wait for it.

Who builds holds the lock of the digest, which ends with its process. It builds under a fresh id, at the final path, and
one conditional statement makes the row ready: until then nothing looks as if it could be used, and whatever a crash
leaves behind is a folder that no row names.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.environments.checking import check_packages, checked_python, size_of
from flowstead.environments.child_process import MARK, Children
from flowstead.environments.declaration import Declaration, Progress
from flowstead.environments.environment import Environment, Wanted, site_packages_of, venv_of
from flowstead.environments.processes import kill_marked
from flowstead.environments.rows import EnvironmentRow, Rows
from flowstead.environments.runtime import keep_compiled, put_runtime
from flowstead.model.errors import BuildFailed, FlowsteadError, HomeUnwritable
from flowstead.model.lock import ProcessLock
from flowstead.model.run import now_us

if TYPE_CHECKING:
    from flowstead.environments.provider import Provider
    from flowstead.model.settings import Settings

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1
"""How often a build in another process is looked at, and how often its progress is noted for others."""
_LEAST_FREE = 256 << 10
SECONDS_TO_RETRY = 30
"""After how long a failure that passes by itself, such as a network that is away, is worth another try."""


class Build:
    """The build of one digest, as those see it who wait for it in this process."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.environment: Environment | None = None
        self.error: FlowsteadError | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._latest: Progress | None = None
        self._building = False
        self._listeners: list[Callable[[Progress], None]] = []
        self._waiting: list[Callable[[Build], None]] = []

    @property
    def state(self) -> str:
        """One of queued, building, ready, failed."""
        if self._done.is_set():
            return "ready" if self.environment is not None else "failed"
        return "building" if self._building else "queued"

    @property
    def progress(self) -> Progress | None:
        """The latest there is."""
        return self._latest

    def listen(self, on_progress: Callable[[Progress], None]) -> None:
        """Calls `on_progress` with the latest progress, if there is any, then with each as it comes."""
        with self._lock:
            self._listeners.append(on_progress)
            latest = self._latest
        if latest is not None:
            on_progress(latest)

    def on_done(self, call: Callable[[Build], None]) -> None:
        """Calls `call` with this build once it is done: from the building thread, or here when it is done already."""
        with self._lock:
            if not self._done.is_set():
                self._waiting.append(call)
                return
        call(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end, at most `timeout` seconds; whether it has come."""
        return self._done.wait(timeout)

    def tell(self, progress: Progress) -> None:
        with self._lock:
            if progress == self._latest:
                return
            self._building, self._latest = True, progress
            listeners = list(self._listeners)
        for each in listeners:
            try:
                each(progress)
            except Exception:
                # What is built does not depend on who looks on.
                _log.exception("What listens to the build of environment %s failed", self.digest)

    def finish(self, environment: Environment | None, error: FlowsteadError | None = None) -> None:
        """The end. What listens must not raise; if it does, the others are called all the same."""
        with self._lock:
            self.environment, self.error = environment, error
            self._done.set()
            waiting, self._waiting, self._listeners = self._waiting, [], []
        for call in waiting:
            try:
                call(self)
            except Exception:
                _log.exception("What waited for environment %s failed", self.digest)


class Builds:
    """The builds of this process below `folder`. `find` gives the environment of a digest that is ready, else None."""

    def __init__(self, folder: Path, settings: Settings, rows: Rows, find: Callable[[str], Environment | None]) -> None:
        self._folder = folder
        self._settings = settings
        self._rows = rows
        self._find = find
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._slots = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
        self._builds: dict[str, Build] = {}
        self._children: set[Children] = set()
        self._threads: set[threading.Thread] = set()

    def request(self, wanted: Wanted, *, again: bool = False) -> Build:
        """The build of what is wanted: one that is under way, one that is done already, or a new one.

        A kept failure is the answer, unless `again` is set or it is one that passes by itself. Raises HomeUnwritable or
        StorageError when the record of environments cannot be written.
        """
        with self._lock:
            build = self._builds.get(wanted.digest)
            if build is not None:
                return build
            if self._closing.is_set():
                return _ended(wanted.digest, None, _stopped())
            environment = self._find(wanted.digest)
            if environment is not None:
                return _ended(wanted.digest, environment, None)
            row = self._rows.row(wanted.digest)
            kept = _kept_failure(row)
            if kept is not None and row is not None:
                again = again or (row.retry_after is not None and row.retry_after <= now_us())
                if not again:
                    return _ended(wanted.digest, None, kept)
            self._queue(wanted, again=again)
            build = self._builds[wanted.digest] = Build(wanted.digest)
            thread = threading.Thread(
                target=self._see_to_its_end, args=(wanted, build), name=f"build-{wanted.digest[:8]}", daemon=True
            )
            self._threads.add(thread)
            thread.start()
            return build

    def close(self) -> None:
        """Ends the builds that are under way in this process, and waits until they have."""
        self._closing.set()
        with self._lock:
            children, threads = list(self._children), list(self._threads)
        for each in children:
            each.stop(_stopped())
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    # -- one build, in a thread of its own -----------------------------------------------------------------------

    def _see_to_its_end(self, wanted: Wanted, build: Build) -> None:
        environment: Environment | None = None
        error: FlowsteadError | None = None
        try:
            environment = self._come_by(wanted, build)
        except FlowsteadError as raised:
            error = raised
        except Exception as raised:  # whatever it is, those who wait are told
            error = _unexpected(raised)
        with self._lock:
            # Before the end is told: who asks again from then on is to get another build.
            self._builds.pop(wanted.digest, None)
            self._threads.discard(threading.current_thread())
        build.finish(environment, error)

    def _come_by(self, wanted: Wanted, build: Build) -> Environment:
        """Builds it, or waits for the process that does; raises the error that it ends with."""
        lock_path = self._folder / ".locks" / wanted.digest
        try:
            lock_path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _folder_error(error, lock_path.parent) from error
        while True:
            if self._closing.is_set():
                self._rows.give_up(wanted.digest, None)
                raise _stopped()
            environment = self._find(wanted.digest)
            if environment is not None:
                return environment
            row = self._rows.row(wanted.digest)
            kept = _kept_failure(row)
            if kept is not None:
                raise kept
            lock = ProcessLock(lock_path)
            if lock.acquire("build"):
                try:
                    # Race: its file may have been tidied away between our opening and locking it.
                    if not lock.is_in_place():
                        continue
                    environment = self._build(wanted, build)
                finally:
                    lock.release()
                if environment is not None:
                    return environment
                continue
            if row is not None and row.progress is not None:
                build.tell(row.progress)
            self._closing.wait(SECONDS_BETWEEN_LOOKS)

    def _build(self, wanted: Wanted, build: Build) -> Environment | None:
        """Builds it, holding its lock. None when it turns out that someone else has come to an end with it."""
        digest, attempt = wanted.digest, os.urandom(6).hex()
        before = self._rows.row(digest)
        if before is not None and before.attempt is not None:
            self._tidy_up_after(digest, before.attempt)
        while not self._slots.acquire(timeout=SECONDS_BETWEEN_LOOKS):
            if self._closing.is_set():
                return None
        children = Children(attempt, seconds=self._settings.environment_build_timeout)
        try:
            self._queue(wanted, again=False)
            if not self._rows.begin(digest, attempt):
                return None
            with self._lock:
                self._children.add(children)
            if self._closing.is_set():  # race: a close that did not see these children yet
                children.stop(_stopped())
            return self._install(wanted, attempt, children, build)
        except BaseException as raised:
            error = raised if isinstance(raised, FlowsteadError) else _unexpected(raised)
            if self._is_full():
                # Whatever it was that failed first, and however it said so.
                error = _full(self._folder, error)
            self._remove(digest, attempt)
            if error.code == "environment-stopped":
                self._rows.give_up(digest, attempt)
            else:
                self._rows.fail(digest, attempt, error, retry_after=_retry_after(error))
            if error is raised:
                raise
            raise error from raised
        finally:
            with self._lock:
                self._children.discard(children)
            self._slots.release()

    def _install(self, wanted: Wanted, attempt: str, children: Children, build: Build) -> Environment | None:
        venv = venv_of(self._folder, wanted.digest, attempt)
        scratch = venv.parent / "scratch"
        provider = provider_of(wanted.declaration)
        tell = self._teller(wanted.digest, attempt, build)
        try:
            _make(scratch)
            provider.install(
                wanted.declaration, wanted.interpreter, venv=venv, scratch=scratch, tell=tell, run=children
            )
            tell(Progress("checking", "Adding Flowstead's runtime, and starting Python in it"))
            site_packages = site_packages_of(venv)
            compiled = put_runtime(site_packages, self._folder)
            python = checked_python(wanted.declaration, venv, provider, children, [] if compiled else [site_packages])
            if not compiled:
                keep_compiled(site_packages, self._folder)
            packages = provider.packages_of(venv)
            check_packages(wanted.declaration, packages, python)
            shutil.rmtree(scratch, ignore_errors=True)
            size, own_size = size_of(venv)
        except OSError as error:
            raise _folder_error(error, venv) from error
        children.check()
        if not self._rows.finish(
            wanted.digest, attempt, python=python, packages=packages, size=size, own_size=own_size
        ):
            self._remove(wanted.digest, attempt)
            return None
        return self._find(wanted.digest)

    def _teller(self, digest: str, attempt: str, build: Build) -> Callable[[Progress], None]:
        noted = 0.0
        phase = ""

        def tell(progress: Progress) -> None:
            nonlocal noted, phase
            build.tell(progress)
            now = time.monotonic()
            if progress.phase != phase or now - noted >= SECONDS_BETWEEN_LOOKS * 2:
                noted, phase = now, progress.phase
                self._rows.progress(digest, attempt, progress)

        return tell

    def _queue(self, wanted: Wanted, *, again: bool) -> None:
        declaration, interpreter = wanted.declaration, wanted.interpreter
        manifest = {"file": declaration.file, "why": declaration.why, **declaration.content()}
        self._rows.queue(
            wanted.digest,
            declaration.provider,
            interpreter.version if interpreter is not None else None,
            json.loads(_without_secrets(json.dumps(manifest))),
            again=again,
        )

    def _tidy_up_after(self, digest: str, attempt: str) -> None:
        """Ends what a builder that is gone has left running, and removes its folder. The lock is ours."""
        kill_marked(MARK, attempt)
        self._remove(digest, attempt)

    def _is_full(self) -> bool:
        try:
            return shutil.disk_usage(self._folder).free < _LEAST_FREE
        except OSError:
            return False

    def _remove(self, digest: str, attempt: str) -> None:
        folder = self._folder / digest / attempt
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.parent.rmdir()
        except OSError:
            pass  # others are in it


def provider_of(declaration: Declaration) -> Provider:
    """The provider that makes what is declared. Raises BuildFailed when it is an extra that is not installed."""
    if declaration.provider == "conda":
        from flowstead.environments.conda import CondaProvider

        return CondaProvider()
    from flowstead.environments.uv import UvProvider

    return UvProvider()


def _make(folder: Path) -> None:
    for _ in range(10):
        try:
            folder.mkdir(parents=True)
            return
        except FileNotFoundError:
            continue  # race: another process has just removed the digest's folder as empty


def _kept_failure(row: EnvironmentRow | None) -> FlowsteadError | None:
    if row is None or row.state != "failed" or row.error is None or row.error["code"] == "environment-interrupted":
        return None
    return BuildFailed(row.error["message"], hint=row.error["hint"], code=row.error["code"], **row.error["detail"])


def _ended(digest: str, environment: Environment | None, error: FlowsteadError | None) -> Build:
    build = Build(digest)
    build.finish(environment, error)
    return build


def _stopped() -> BuildFailed:
    return BuildFailed(
        "Building the environment was stopped, because the process that did it ended.",
        code="environment-stopped",
        hint="It is built when it is needed again.",
    )


def _retry_after(error: FlowsteadError) -> int | None:
    """When a failure is worth another try: at once where it is this machine's, later where it is the network's."""
    if error.code in ("disk-full", "installer-missing", "home-unwritable"):
        return now_us()
    return now_us() + SECONDS_TO_RETRY * 1_000_000 if error.detail.get("passing") else None


def _folder_error(error: OSError, path: Path) -> FlowsteadError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path, None)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return HomeUnwritable(
            f"Cannot write {error.filename or path}: {error.strerror}.",
            hint="Set environment_folder in settings.toml to a folder you can write to.",
        )
    return _unexpected(error)


def _full(path: Path, error: FlowsteadError | None) -> BuildFailed:
    words = error.detail.get("words", error.message) if error is not None else None
    return BuildFailed(
        f"The disk that holds {path} is full.",
        code="disk-full",
        hint="Free some space, for example with: flowstead env gc",
        **({"words": words} if words else {}),
    )


def _unexpected(error: BaseException) -> BuildFailed:
    return BuildFailed(f"Building the environment failed: {error}.", words=f"{type(error).__name__}: {error}")


def _without_secrets(text: str) -> str:
    """The text with credentials in addresses struck out."""
    return re.sub(r"://[^/\s\"@]+@", "://***@", text)
