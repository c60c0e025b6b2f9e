"""Requests about the environments of this machine: those there are, and tidying them up."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flowstead.daemon.machine import Machine
from flowstead.daemon.routes.route import Route
from flowstead.model.errors import EnvironmentUnusable, NotFound, UsageError
from flowstead.model.run import iso

if TYPE_CHECKING:
    from flowstead.environments.declaration import Progress
    from flowstead.environments.rows import EnvironmentRow


def list_environments(machine: Machine) -> dict[str, Any]:
    """Every environment of this machine, the last used first, also what is being built and what could not be."""
    cache = machine.environments()
    rows = cache.rows()
    return {
        "folder": str(cache.folder),
        "size": sum(row.size or 0 for row in rows),
        "environments": [environment_shape(row) for row in rows],
    }


def show_one(machine: Machine, digest: str) -> dict[str, Any]:
    """One environment, by its digest or the beginning of it. Raises NotFound, UsageError when it fits several."""
    return environment_shape(_row(machine, digest))


def pin_environment(machine: Machine, digest: str, *, pinned: bool = True) -> dict[str, Any]:
    """Keeps an environment from being tidied away, or no longer; returns it. Raises NotFound."""
    row = _row(machine, digest)
    machine.environments().pin(row.digest, pinned)
    return environment_shape(_row(machine, row.digest))


def use_environment(machine: Machine, digest: str, *, pid: int, purpose: str) -> dict[str, Any]:
    """Keeps an environment for as long as the process `pid` lives; returns it.

    Raises NotFound, and EnvironmentUnusable (`environment-gone`) when it is not ready or that process has ended.
    """
    cache = machine.environments()
    row = _row(machine, digest)
    environment = cache.ready(row.digest)
    if environment is None:
        raise EnvironmentUnusable(f"Environment {row.digest[:12]} is not ready.", code="environment-gone")
    cache.use(environment, purpose, pid=pid)  # never closed: the process's end is
    return environment_shape(_row(machine, row.digest))


def remove_environment(machine: Machine, digest: str) -> dict[str, Any]:
    """Deletes an environment, or a kept failure. Raises NotFound, and EnvironmentUnusable while it is in use."""
    row = _row(machine, digest)
    machine.environments().remove(row.digest)
    return {"removed": row.digest}


def collect_environments(machine: Machine, *, dry_run: bool = False) -> dict[str, Any]:
    """Tidies away what nobody needs: see the settings environment_days, environment_disk_mb and environment_grace."""
    collected = machine.environments().collect(dry_run=dry_run)
    return {"dry_run": dry_run, "collected": [asdict(each) for each in collected]}


def _row(machine: Machine, digest: str) -> EnvironmentRow:
    rows = [row for row in machine.environments().rows() if digest and row.digest.startswith(digest)]
    if not rows:
        raise NotFound(
            f"There is no environment {digest}.",
            code="environment-not-found",
            hint="See the environments there are with: flowstead env list",
        )
    if len(rows) > 1:
        raise UsageError(f"{digest} fits {len(rows)} environments.", hint="Give more of its digest.")
    return rows[0]


def environment_shape(row: EnvironmentRow) -> dict[str, Any]:
    return {
        "digest": row.digest,
        "state": row.state,
        "provider": row.provider,
        "python": row.python,
        "manifest": row.manifest,
        "packages": [{"name": each.name, "version": each.version} for each in row.packages],
        "size": row.size,
        "own_size": row.own_size,
        "created": iso(row.created),
        "last_used": iso(row.last_used),
        "pinned": row.pinned,
        "in_use": list(row.in_use),
        "progress": progress_shape(row.progress) if row.progress else None,
        "error": row.error,
    }


def progress_shape(progress: Progress) -> dict[str, Any]:
    return {
        "phase": progress.phase,
        "message": progress.message,
        "done": progress.done,
        "total": progress.total,
    }


ROUTES = (
    Route("GET", "/environments", list_environments),
    Route("POST", "/environments/collect", collect_environments),
    Route("GET", "/environments/{digest}", show_one),
    Route("POST", "/environments/{digest}/pin", pin_environment),
    Route("POST", "/environments/{digest}/use", use_environment),
    Route("POST", "/environments/{digest}/remove", remove_environment),
)
