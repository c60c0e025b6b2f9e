"""Requests about the pool: environments that are ready to be taken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flowstead.daemon.machine import Machine
from flowstead.daemon.routes.route import Route
from flowstead.model.run import iso

if TYPE_CHECKING:
    from flowstead.environments.pool import Pool
    from flowstead.environments.pool_kinds import KindStatus
    from flowstead.environments.pool_rows import Member


def show_pool(machine: Machine) -> dict[str, Any]:
    """How the pool of each kind stands, and what it has: `ready`, `warming`, `lent`."""
    pool = machine.pooling().pool
    return {
        "kinds": [_kind(each) for each in pool.status()],
        "members": [_member(pool, each) for each in pool.members()],
    }


def ping_pool(machine: Machine) -> dict[str, Any]:
    """Whether somebody tends the pool."""
    return {"running": machine.pooling().is_running, "pid": os.getpid()}


def take_from_pool(machine: Machine, *, kind: str, pid: int) -> dict[str, Any]:
    """An environment for the process `pid`, which has it until it is returned or that process ends.

    Raises NotFound, PoolRefused (`pool-off`, `pool-warming` while the first one is being built, `pool-holder-gone`),
    and BuildFailed when none can be built.
    """
    pool = machine.pooling().pool
    return _member(pool, pool.take(kind, pid))


def return_to_pool(machine: Machine, *, path: str, discard: bool = False) -> dict[str, Any]:
    """Takes an unchanged environment back; it is `ready` again, or `leaving` when there are enough.

    With `discard` it is deleted, changed or not. Raises PoolRefused (`pool-foreign`, `pool-not-lent`, `pool-changed`),
    and touches no file then.
    """
    pool = machine.pooling().pool
    return _member(pool, pool.discard(path) if discard else pool.give_back(path))


def hand_over_lease(machine: Machine, *, path: str, pid: int) -> dict[str, Any]:
    """Another process holds what was taken, from now on. Raises PoolRefused."""
    pool = machine.pooling().pool
    return _member(pool, pool.hand_over(path, pid))


def flush_pool(machine: Machine, *, kind: str | None = None) -> dict[str, Any]:
    """Deletes what is ready, of one kind or all, and makes it anew, also after a shutdown. Raises NotFound."""
    return {"cleared": machine.pooling().pool.flush(kind)}


def shut_down_pool(machine: Machine, *, kind: str | None = None) -> dict[str, Any]:
    """Deletes what is ready, and makes no more until it is flushed or the daemon starts again. Raises NotFound."""
    return {"cleared": machine.pooling().pool.shutdown(kind)}


def _kind(status: KindStatus) -> dict[str, Any]:
    return {
        "kind": status.kind,
        "target": status.target,
        "off": status.off,
        "ready": status.ready,
        "warming": status.warming,
        "lent": status.lent,
        "deficit": status.deficit,
        "base_only": status.base_only,
        "packages": list(status.packages),
        "digest": status.digest,
        "progress": status.progress,
        "error": None if status.error is None else status.error.as_dict(),
        "package": status.package,
        "retry_in": None if status.retry_in is None else round(status.retry_in, 1),
    }


def _member(pool: Pool, member: Member) -> dict[str, Any]:
    path = pool.path(member)
    python = path / "Scripts" / "python.exe" if os.name == "nt" else path / "bin" / "python"
    return {
        "id": member.id,
        "kind": member.kind,
        "state": member.state,
        "path": str(path),
        "python": str(python),
        "base_only": member.base_only,
        "created_at": iso(member.created),
        "holder": member.holder,
        "lent_at": iso(member.lent),
    }


ROUTES = (
    Route("GET", "/pool", show_pool),
    Route("GET", "/pool/ping", ping_pool),
    Route("POST", "/pool/take", take_from_pool),
    Route("POST", "/pool/return", return_to_pool),
    Route("POST", "/pool/lease", hand_over_lease),
    Route("POST", "/pool/flush", flush_pool),
    Route("POST", "/pool/shutdown", shut_down_pool),
)
