"""Who owns a workspace, as one look from this machine found it, in facts and in a sentence."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowstead.model.run import iso
from flowstead.workspace.claims import Claim
from flowstead.workspace.lease import ControlRequest, Lease


class Standing(NamedTuple):
    """Who owns the workspace, as seen from here.

    `state` is `free`, `mine` (this machine's), `owned`, `stale` or `damaged`; `reason` is a sentence for people. The
    owner's facts are those of the last one where it is free, and empty where there never was one. `since` is by the
    owner's wall clock (microseconds); `unchanged` is for how many seconds this machine has seen no sign of life.
    """

    state: str
    reason: str
    epoch: int = 0
    machine_id: str = ""
    host: str = ""
    pid: int = 0
    version: str = ""
    since: int = 0
    unchanged: float = 0.0
    generation: int = 0
    request: ControlRequest | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "reason": self.reason,
            "epoch": self.epoch,
            "machine_id": self.machine_id,
            "host": self.host,
            "pid": self.pid,
            "version": self.version,
            "since": iso(self.since) if self.since else None,
            "unchanged_seconds": round(self.unchanged, 1),
            "generation": self.generation,
            "request": self.request.as_dict() if self.request else None,
        }


def of_claim(state: str, reason: str, claim: Claim, unchanged: float, lease: Lease | None = None) -> Standing:
    return Standing(
        state=state,
        reason=reason,
        epoch=claim.epoch,
        machine_id=claim.machine.id,
        host=claim.machine.host,
        pid=claim.pid,
        version=claim.version,
        since=claim.time,
        unchanged=unchanged,
        generation=lease.snapshot_generation if lease and lease.epoch == claim.epoch else claim.accepted,
    )


def of_lease(state: str, lease: Lease, unchanged: float) -> Standing:
    return Standing(
        state=state,
        reason=f"{lease.host} (pid {lease.pid}) owns it by its lease, though its claim is not there;"
        f" that lease has not changed for {unchanged:.0f} s.",
        epoch=lease.epoch,
        machine_id=lease.machine_id,
        host=lease.host,
        pid=lease.pid,
        version=lease.app_version,
        since=lease.started,
        unchanged=unchanged,
        generation=lease.snapshot_generation,
    )


def minute(time: int) -> str:
    return (iso(time) or "")[:16].replace("T", " ") + " UTC"
