"""Requests about what a flow runs in: which file decides and why, and having it built."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowstead.daemon.routes.environments import environment_shape, progress_shape
from flowstead.daemon.routes.route import SECONDS_BETWEEN_HEARTBEATS, Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import EnvironmentUnusable, FlowsteadError

if TYPE_CHECKING:
    from flowstead.catalog import CatalogEntry
    from flowstead.engine.flow_environments import Found
    from flowstead.environments.building import Build
    from flowstead.environments.declaration import Progress

KERNEL_PACKAGES = ("ipykernel",)


def list_flow_environments(host: WorkspaceHost) -> dict[str, Any]:
    """Which environment each flow of the workspace runs in as its files say now, `{flows}`; none is built for it.

    A flow is `{flow, file, why, provider, digest, error}`. Without a `file` it runs in what runs Flowstead itself.
    """
    return {"flows": [_wanted(host, entry) for entry in host.catalog.entries_within()]}


def _wanted(host: WorkspaceHost, entry: CatalogEntry) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("file", "why", "provider", "digest", "error"))
    try:
        source = entry.path.read_bytes()
        decision = host.environments.decide(entry.path, source)
        row["why"] = decision.why
        if decision.declaration is not None:
            row |= {"file": decision.declaration.file, "provider": decision.declaration.provider}
            wanted = host.environments.find(entry.path, source).wanted
            row["digest"] = None if wanted is None else wanted.digest
    except FlowsteadError as error:
        row["error"] = error.as_dict()
    except OSError as error:
        row["error"] = FlowsteadError(f"{entry.path.name} cannot be read: {error.strerror}.").as_dict()
    return {"flow": entry.name, **row}


def show_environment(host: WorkspaceHost, name: str) -> dict[str, Any]:
    """What a flow runs in as its files say now: which of them decided and why, and whether it is built."""
    path = host.catalog.path(name)
    source = path.read_bytes()
    decision = host.environments.decide(path, source)
    declaration = decision.declaration
    answer: dict[str, Any] = {
        "flow": name,
        "file": declaration.file if declaration else None,
        "why": decision.why,
        "considered": [{"file": each.file, "verdict": each.verdict} for each in decision.considered],
        "provider": declaration.provider if declaration else None,
        "requires_python": declaration.requires_python if declaration else None,
        "requirements": [
            {"text": each.text, "file": each.file, "line": each.line, "editable": each.editable}
            for each in (*declaration.requirements, *declaration.pip)
        ]
        if declaration
        else [],
        "digest": None,
        "environment": None,
    }
    found = host.environments.find(path, source)
    if found.wanted is not None:
        row = host.environments.open_cache().row(found.wanted.digest)
        answer["digest"] = found.wanted.digest
        answer["environment"] = None if row is None else environment_shape(row)
    return answer


def prepare_environment(host: WorkspaceHost, name: str, *, kernel: bool = False) -> Iterator[dict[str, Any] | None]:
    """Builds what a flow runs in where it is not there, and tells how far that is.

    Gives `{"progress": {...}}`, None while nothing happens, and at last `{"ready": {"python", "digest"}}`; with
    `kernel` it is the environment that a notebook of this flow needs. What could not be built before is tried again.
    Raises FlowNotFound, ManifestInvalid, PythonMissing, and BuildFailed with the installer's own words.
    """
    path = host.catalog.path(name)
    source = path.read_bytes()
    found = (
        host.environments.find_for_kernel(path, source, KERNEL_PACKAGES)
        if kernel
        else host.environments.find(path, source)
    )
    return _prepared(host, found)


def _prepared(host: WorkspaceHost, found: Found) -> Iterator[dict[str, Any] | None]:
    if found.python is None:
        assert found.wanted is not None
        told: queue.SimpleQueue[Progress | Build] = queue.SimpleQueue()
        build = host.environments.request(found.wanted, again=True)
        build.listen(told.put)
        build.on_done(told.put)
        while True:
            try:
                item = told.get(timeout=SECONDS_BETWEEN_HEARTBEATS)
            except queue.Empty:
                yield None
                continue
            if item is build:
                break
            yield {"progress": progress_shape(item)}  # type: ignore[arg-type]
        if build.environment is None:
            raise build.error or EnvironmentUnusable("The environment could not be built.")
        found = type(found)(found.wanted, build.environment)
    yield {"ready": {"python": found.python, "digest": found.wanted.digest if found.wanted else None}}


ROUTES = (
    Route("GET", "/environments", list_flow_environments),
    Route("GET", "/flows/{name}/environment", show_environment),
    Route("POST", "/flows/{name}/environment", prepare_environment, streams=True),
)
