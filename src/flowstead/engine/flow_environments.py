"""In which environment each flow of a workspace runs: what it says it needs now, and whether that is there yet."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.environments.detection import detect
from flowstead.model.errors import BuildFailed, EnvironmentPending, FlowsteadError
from flowstead.model.run import now_us

if TYPE_CHECKING:
    from flowstead.catalog import FlowVersion
    from flowstead.environments.building import Build
    from flowstead.environments.cache import EnvironmentCache, Use
    from flowstead.environments.declaration import Decision, Declaration
    from flowstead.environments.environment import Environment, Wanted
    from flowstead.workspace.layout import WorkspaceLayout

_MOST_SOURCES = 256


@dataclass(frozen=True, slots=True)
class Found:
    """What a flow wants, None where it says nothing, and the environment that holds just that, once there is one."""

    wanted: Wanted | None = None
    environment: Environment | None = None

    @property
    def python(self) -> str | None:
        """The interpreter to run it with; None while its environment is not there."""
        if self.wanted is None:
            return sys.executable
        return None if self.environment is None else str(self.environment.python)


@dataclass(frozen=True, slots=True)
class KeptFailure:
    """Why an environment could not be built, and when that was, in microseconds since the epoch."""

    error: FlowsteadError
    at: int


class FlowEnvironments:
    """The environments of the flows of one workspace; `open_cache` is called once a flow asks for one.

    With `builds` what a look at the flows finds missing is built at once, so that it is there when it is needed.
    """

    def __init__(
        self, layout: WorkspaceLayout, open_cache: Callable[[], EnvironmentCache], *, builds: bool = False
    ) -> None:
        self._layout = layout
        self.open_cache = open_cache
        self.builds = builds
        self._lock = threading.Lock()
        self._sources: dict[str, bytes] = {}
        self._uses: dict[str, Use] = {}

    def decide(self, path: Path, source: bytes) -> Decision:
        """Which file says what the module at `path` needs, as it is now. Raises ManifestInvalid."""
        module = path.relative_to(self._layout.root).as_posix()
        return detect(source, path.suffix.lower(), module, self._layout.root, path.parent)

    def find(self, path: Path, source: bytes) -> Found:
        """What the module needs and whether it is there. Raises ManifestInvalid, PythonMissing."""
        return self._find(self.decide(path, source).declaration)

    def find_for_kernel(self, path: Path, source: bytes, packages: tuple[str, ...]) -> Found:
        """What a notebook of this flow needs: what the flow needs, and these packages. Raises as `find` does."""
        declaration = self.decide(path, source).declaration
        return self._find(None if declaration is None else declaration.with_packages(packages, "the notebook's kernel"))

    def _find(self, declaration: Declaration | None) -> Found:
        if declaration is None:
            return Found()
        cache = self.open_cache()
        wanted = cache.resolve(declaration)
        return Found(wanted, cache.ready(wanted.digest))

    def find_for(self, version: FlowVersion) -> Found:
        """The same for a run of a version; the environment is then in use by this process until `release_unused`."""
        source = self._sources.get(version.digest)
        if source is None:
            source = (version.folder / f"module{version.origin.suffix.lower()}").read_bytes()
            with self._lock:
                if len(self._sources) >= _MOST_SOURCES:
                    self._sources.clear()
                self._sources[version.digest] = source
        found = self.find(version.origin, source)
        environment = found.environment
        if environment is None:
            return found
        with self._lock:
            if environment.id not in self._uses:
                try:
                    self._uses[environment.id] = self.open_cache().use(environment, f"runs {self._layout.workspace_id}")
                except FlowsteadError:
                    return Found(found.wanted)  # it was collected at this moment
        return found

    def release_unused(self, in_use: Collection[str]) -> None:
        """Lets environments be collected that this process has no worker in any more; `in_use` are ids."""
        with self._lock:
            over = [self._uses.pop(each) for each in list(self._uses) if each not in in_use]
        for use in over:
            use.close()

    def request(self, wanted: Wanted, *, again: bool = False) -> Build:
        """The build of what is missing, also one that is under way; a kept failure is it too, unless `again`."""
        return self.open_cache().request(wanted, again=again)

    def failure(self, wanted: Wanted) -> KeptFailure | None:
        """Why it could not be built; None where it was not tried, or is worth another try by now."""
        row = self.open_cache().row(wanted.digest)
        if row is None or row.state != "failed" or row.error is None:
            return None
        passed = row.retry_after is not None and row.retry_after <= now_us()
        if passed or row.error["code"] == "environment-interrupted":
            return None
        return KeptFailure(failure_of(row.error), row.changed)

    def python_for(self, path: Path, source: bytes) -> str:
        """The interpreter that describes a module.

        Raises EnvironmentPending while its environment is not there, BuildFailed where it could not be built,
        ManifestInvalid and PythonMissing.
        """
        found = self.find(path, source)
        if found.python is not None:
            return found.python
        assert found.wanted is not None
        failure = self.failure(found.wanted)
        if failure is not None:
            raise failure.error
        if self.builds:
            self.request(found.wanted)
        row = self.open_cache().row(found.wanted.digest)
        building = row is not None and row.state in ("queued", "building")
        raise EnvironmentPending(
            f"The environment that {found.wanted.declaration.file} asks for is {'being' if building else 'not'} built.",
            hint=f"Running the flow builds it: flowstead run {path.stem}",
            digest=found.wanted.digest,
        )

    def close(self) -> None:
        self.release_unused(())


def failure_of(error: Mapping[str, Any]) -> BuildFailed:
    """A kept error as it was raised."""
    return BuildFailed(error["message"], code=error["code"], hint=error["hint"], **error["detail"])
