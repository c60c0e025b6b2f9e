"""The cache of environments: what the engine, the pool and routes hold to get at them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.environments.environment import Environment, Wanted, python_of, venv_of
from flowstead.environments.processes import start_of
from flowstead.environments.rows import EnvironmentRow, Rows, packages_from
from flowstead.model.errors import EnvironmentUnusable, NotFound, PythonMissing
from flowstead.model.run import now_us

if TYPE_CHECKING:
    from flowstead.environments.building import Build, Builds
    from flowstead.environments.collecting import Collected
    from flowstead.environments.declaration import Declaration
    from flowstead.model.settings import Settings

MICROSECONDS_BETWEEN_NOTES = 60_000_000


class Use:
    """A process uses an environment: it is not collected until `close`, or until that process ends."""

    def __init__(self, environment: Environment, pid: int, on_close: Callable[[], None]) -> None:
        self.environment = environment
        self.pid = pid
        self._on_close: Callable[[], None] | None = on_close

    def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    def __enter__(self) -> Use:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EnvironmentCache:
    """The environments below `folder`; safe for many threads and processes.

    Its methods raise HomeUnwritable or StorageError when the record of environments cannot be read or written.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder.absolute()
        self.settings = settings
        self._rows = Rows(self.folder)
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._builds: Builds | None = None
        self._closed = False
        self._known: dict[str, Environment] = {}
        self._used: dict[tuple[str, int], tuple[str, int]] = {}

    def resolve(self, declaration: Declaration) -> Wanted:
        """What a declaration comes to on this machine. Raises PythonMissing, ManifestInvalid."""
        from flowstead.environments.digest import digest_of

        interpreter = None
        if declaration.provider == "uv":
            from flowstead.environments.interpreters import find_interpreter

            try:
                interpreter = find_interpreter(declaration.requires_python)
            except PythonMissing as error:
                error.detail.update(file=declaration.file, line=declaration.requires_python_line)
                raise
        return Wanted(digest_of(declaration, interpreter), declaration, interpreter)

    def ready(self, digest: str) -> Environment | None:
        """The environment of that digest, if it can be used now; a cold one is ready again by that."""
        found = self._rows.look(digest)
        if found is None or found[1] not in ("ready", "cold"):
            return None
        id_, state, last_used, packages = found
        assert id_ is not None
        environment = self._known.get(digest)
        if environment is None or environment.id != id_:
            venv = venv_of(self.folder, digest, id_)
            environment = Environment(digest, id_, venv, python_of(venv), packages_from(packages))
            self._known[digest] = environment
        try:
            os.stat(environment.python)
        except OSError:
            # Someone deleted it, or the Python that it was made with.
            self._known.pop(digest, None)
            self._rows.forget_broken(digest, id_)
            return None
        now = now_us()
        stale = state == "cold" or now - last_used > MICROSECONDS_BETWEEN_NOTES
        if stale and not self._rows.note_used(digest, id_, now):
            return None  # race: it was collected in this moment
        return environment

    def request(self, wanted: Wanted, *, again: bool = False) -> Build:
        """Has it built, if it is not there; see Builds.request."""
        # Imported here: whoever only looks what there is, or uses what is ready, needs none of it.
        from flowstead.environments.building import Build, Builds

        environment = self.ready(wanted.digest)
        if environment is not None:
            build = Build(wanted.digest)
            build.finish(environment)
            return build
        with self._starting:
            if self._builds is None:
                self._builds = Builds(self.folder, self.settings, self._rows, self.ready)
                if self._closed:
                    self._builds.close()
            builds = self._builds
        return builds.request(wanted, again=again)

    def rows(self) -> list[EnvironmentRow]:
        """Every environment on record, the last used first."""
        return self._rows.rows()

    def row(self, digest: str) -> EnvironmentRow | None:
        return self._rows.row(digest)

    def use(self, environment: Environment, purpose: str, *, pid: int | None = None) -> Use:
        """Registers a process (this one, unless `pid` names another) as a user of an environment.

        Raises EnvironmentUnusable (`environment-gone`) when it was collected since it was handed out: request it again.
        """
        pid = os.getpid() if pid is None else pid
        key = environment.id, pid
        with self._lock:
            use, count = self._used.get(key, (None, 0))
            if use is None:
                start = start_of(pid)
                if start is not None:
                    use = self._rows.begin_use(environment.digest, environment.id, pid, start, purpose)
                if use is None:
                    raise EnvironmentUnusable(
                        "The environment was removed before it could be used."
                        if start is not None
                        else f"Process {pid}, which was to use the environment, has ended.",
                        code="environment-gone",
                        digest=environment.digest,
                    )
            self._used[key] = use, count + 1
        return Use(environment, pid, lambda: self._end_use(environment, pid))

    def _end_use(self, environment: Environment, pid: int) -> None:
        with self._lock:
            key = environment.id, pid
            use, count = self._used[key]
            if count > 1:
                self._used[key] = use, count - 1
                return
            del self._used[key]
            self._rows.end_use(use, environment.digest, environment.id)

    def pin(self, digest: str, pinned: bool) -> None:
        """Keeps an environment from being collected, or no longer. Raises NotFound."""
        if not self._rows.pin(digest, pinned):
            raise _no_such(digest)

    def remove(self, digest: str) -> None:
        """Deletes an environment, or a kept failure. Raises NotFound, and EnvironmentUnusable when it is in use."""
        from flowstead.environments.collecting import remove

        if not remove(self._rows, self.folder, digest):
            raise _no_such(digest)

    def collect(self, now: int | None = None, *, dry_run: bool = False) -> list[Collected]:
        """Lets go what nobody needs; `now` in microseconds. See collecting.collect."""
        from flowstead.environments.collecting import collect

        return collect(self._rows, self.folder, self.settings, now_us() if now is None else now, dry_run=dry_run)

    def close(self) -> None:
        """Ends the builds that are under way here. Uses that are open end with the process."""
        with self._starting:
            self._closed = True
            builds = self._builds
        if builds is not None:
            builds.close()
        self._rows.close()


def _no_such(digest: str) -> NotFound:
    return NotFound(
        f"There is no environment {digest}.",
        code="environment-not-found",
        hint="See the environments there are with: flowstead env list",
    )
