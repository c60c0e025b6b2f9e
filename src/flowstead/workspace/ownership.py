"""Which machine runs the workspace: the whole protocol, over a folder whose listings may be old and replies lost.

**One successor.** A claim is put under a number that only one can have, and that follows from the claim before it. So
whoever decides, even on an old listing or after an hour's pause, that claim 16 is over, can only try to put 17, and one
succeeds. It remains to show that the owner of 16 has stopped by then. Claim 16 is over in three cases:

- *Released*: its owner stopped, then said so.
- *Made by a dead process of this machine*: whoever claims holds the workspace's `engine.lock`, which that process held.
- *Silent*: this observer saw its heartbeat unchanged for `stale` (90) seconds of its own clock.

**Why silence is proof.** The owner may act until `deadline` (75) seconds after the beginning of its last renewal, and a
renewal counts only if its heartbeat was in the folder before the deadline of the one before. Say an observer saw the
beat at time t, and 90 seconds later the same one. That renewal had begun before t, so the owner's time was up at
t + 75. A next beat in time would have been in the folder by then, and seen; a later one counts for nothing. The 15
seconds between are for clocks that run unevenly and for reads that are behind. Only durations are compared, each on one
machine's own clock, which counts time asleep; what any wall clock says never matters.

**What is published is not lost, what is late is not accepted.** A generation counts as published when the owner's
deadline had not passed *after* it was written. A successor looks which generations there are after it has decided that
the claim is over, so it sees all of those, and its claim names the last: what else arrives under an older epoch is
ignored by everyone, forever.

What the lease, the requests and the marker folders say is for people and tools. Nothing here has a thread or a timer:
the engine calls `renew` every `beat` seconds, and `check` before anything that only the owner may do.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from flowstead.model.errors import FlowsteadError, OwnershipLost, StorageError, WorkspaceOwned
from flowstead.model.run import iso, now_us
from flowstead.version import __version__
from flowstead.workspace import machine as machines
from flowstead.workspace.claims import Claim, ClaimDamaged, Claims, Listing
from flowstead.workspace.layout import WorkspaceLayout, home
from flowstead.workspace.lease import (
    ControlRequest,
    Lease,
    Sightings,
    lease_file,
    mark,
    read_row,
    request_file,
    write_row,
)
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.shared import SharedFolder
from flowstead.workspace.standing import Standing, minute, of_claim, of_lease


class Times(NamedTuple):
    """Seconds. `beat` < `deadline` < `stale` is what the protocol rests on."""

    beat: float = 30.0
    deadline: float = 75.0
    stale: float = 90.0
    request_expiry: float = 600.0
    filling: float = 10.0
    """For how long an empty claim is taken for one that is being written, on file systems without links."""


class _View(NamedTuple):
    """What one look found: the highest claim (None where there is none, or none that can be read) and its lease."""

    standing: Standing
    listing: Listing
    top: Claim | None
    lease: Lease | None
    released_to: int | None


class Ownership:
    """This process' part in who owns one workspace. Safe to use from several threads.

    `boottime` (seconds) and `wall` (microseconds) are the clocks; `machine` is this machine unless given.
    """

    def __init__(
        self,
        layout: WorkspaceLayout,
        *,
        daemon_id: str = "",
        machine: MachineIdentity | None = None,
        folder: SharedFolder | None = None,
        boottime: Callable[[], float] = machines.boottime,
        wall: Callable[[], int] = now_us,
        times: Times = Times(),  # noqa: B008 (immutable)
    ) -> None:
        if not times.beat < times.deadline < times.stale:
            raise ValueError("the owner must give up before others may take over: beat < deadline < stale")
        self.layout = layout
        self.machine = machine or machines.this_machine(home())
        self.folder = folder or SharedFolder(layout.shared_state)
        self.claims = Claims(self.folder)
        self.times = times
        self.deadline = 0.0
        """Until when, on the clock that counts time asleep, this process may act as the owner."""
        self._daemon_id = daemon_id
        self._boottime = boottime
        self._wall = wall
        self._sightings = Sightings(layout.local / "seen.json", self.machine.boot_id)
        self._lock = threading.RLock()
        self._mine: Claim | None = None
        self._beat = 0
        self._shown = False
        self._lost: OwnershipLost | None = None

    # -- looking -----------------------------------------------------------------------------------------------

    def look(self) -> Standing:
        """Who owns the workspace now, and who asks for it. Raises StorageError when the folder cannot be reached.

        Takes no lock: a heartbeat that hangs in the network does not keep others from seeing it.
        """
        return self._view().standing._replace(request=self._standing_request())

    def _view(self, *, fresh: bool = False) -> _View:
        before = self._boottime()
        listing = self.claims.listing(fresh=fresh)
        top, damage = None, None
        if listing.highest:
            try:
                top = self.claims.read(listing.highest)
            except ClaimDamaged as error:
                damage = error
            if top is None and damage is None:
                raise StorageError(
                    f"Claim {listing.highest} of {self.layout.workspace_id} is listed and cannot be opened.",
                    code="workspace-unreadable",
                    hint="Try again in a minute; if it stays so, see: flowstead doctor",
                )
            if listing.is_released(listing.highest):
                released_to = self.claims.released(listing.highest)
                if released_to is not None and top is not None:
                    reason = f"Nobody owns it; {top.machine.host} released it."
                    standing = of_claim("free", reason, top, 0.0)._replace(generation=released_to)
                    return _View(standing, listing, top, None, released_to)
        lease = read_row(self.folder, lease_file(self.layout.workspace_id), Lease)
        if top is None and damage is None and (lease is None or lease.status == "released"):
            return _View(Standing("free", "Nobody owns it."), listing, None, lease, None)
        # All of the lease, even one of an older epoch: what is late must look like a change, not like what was before.
        sign = [listing.highest, lease.epoch if lease else 0, lease.beat if lease else 0]
        unchanged = self._sightings.unchanged("owner", sign, before, self._boottime())
        return _View(self._judge(top, lease, damage, unchanged), listing, top, lease, None)

    def _judge(self, top: Claim | None, lease: Lease | None, damage: ClaimDamaged | None, unchanged: float) -> Standing:
        silent = unchanged >= self.times.stale
        if damage is not None:
            if damage.detail["empty"] and unchanged < self.times.filling:
                return Standing("owned", "Another workstation is just claiming it.", unchanged=unchanged)
            return Standing("damaged", damage.message, unchanged=unchanged)
        if lease is not None and (top is None or lease.epoch > top.epoch) and lease.status != "released":
            # The claim of this heartbeat is not seen: the listing is old, or someone removed the claims.
            return of_lease("stale" if silent else "owned", lease, unchanged)
        assert top is not None, "without a claim there was a lease"
        if self._is_of_this_machine(top):
            return of_claim("mine", f"This machine owns it (pid {top.pid}).", top, unchanged, lease)
        who = f"{top.machine.host} (pid {top.pid}) owns it since {minute(top.time)}"
        if unchanged > self.times.beat:
            who += f", but gave no sign of life for {unchanged:.0f} s"
        return of_claim("stale" if silent else "owned", f"{who}.", top, unchanged, lease)

    def _is_of_this_machine(self, claim: Claim) -> bool:
        if self._mine is not None and claim == self._mine:
            return True
        lock = machines.lock_name(self.layout.engine_lock)
        return machines.same_boot(self.machine, lock, claim.machine, claim.lock)

    # -- claiming ----------------------------------------------------------------------------------------------

    def claim(self, reason: str, *, accepted: Callable[[], int], at_least: int = 0) -> int:
        """Makes this process the owner and returns the epoch. Only for whoever holds the workspace's `engine.lock`.

        `accepted` returns the last generation of the segments that are in the folder, by a fresh listing; it is asked
        once nobody can publish any more. `at_least` is the highest epoch that this machine knows by itself.

        Raises WorkspaceOwned when another machine owns the workspace, StorageError when the folder cannot be written.
        """
        return self._claim(reason, accepted, at_least, force=False)

    def takeover(self, *, force: bool = False, accepted: Callable[[], int], at_least: int = 0) -> int:
        """What a person asks for: as `claim`; with `force` also past a claim that is damaged, and as long unchanged.

        An owner that gives signs of life is never taken from: it has to be asked, or stopped.
        """
        return self._claim("takeover", accepted, at_least, force=force)

    def _claim(self, reason: str, accepted: Callable[[], int], at_least: int, *, force: bool) -> int:
        with self._lock:
            if self.valid and self._mine is not None:
                return self._mine.epoch
            for attempt in range(3):
                view = self._view(fresh=attempt > 0)
                if view.standing.state in ("stale", "damaged"):
                    # Before acting upon silence: that it is not our own file system that has not listened.
                    view = self._view(fresh=True)
                if not self._may_follow(view.standing, force):
                    raise self._refusal(view.standing)
                began = self._boottime()
                claim = self._next_claim(view, reason, accepted(), at_least)
                if self.claims.put(claim):
                    self._settle(claim, view, began)
                    return claim.epoch
            raise self._refusal(self._view(fresh=True).standing)

    def _may_follow(self, standing: Standing, force: bool) -> bool:
        if standing.state == "damaged":
            return force and standing.unchanged >= self.times.stale
        return standing.state in ("free", "mine", "stale")

    def _next_claim(self, view: _View, reason: str, visible: int, at_least: int) -> Claim:
        """The claim after those in `view`: its number depends on them alone, so that all who follow them compete."""
        top, lease = view.top, view.lease
        number = (top.epoch if top else view.listing.highest) + 1
        epoch = max(number, at_least + 1, lease.epoch + 1 if lease else 0)
        if view.released_to is not None:
            visible = view.released_to  # also where fewer are there: a missing segment is to be missed
        elif lease is not None and (top is None or lease.epoch >= top.epoch):
            visible = max(visible, lease.snapshot_generation)
        return Claim(
            number=number,
            epoch=epoch,
            machine=self.machine,
            lock=machines.lock_name(self.layout.engine_lock),
            daemon_id=self._daemon_id,
            pid=os.getpid(),
            version=__version__,
            time=self._wall(),
            reason=reason,
            accepted=max(visible, top.accepted if top else 0),
            after=_ENDINGS[view.standing.state] if view.listing.highest or lease else "none",
            token=os.urandom(8).hex(),
        )

    def _settle(self, claim: Claim, view: _View, began: float) -> None:
        """Looks once more after the claim was put, then begins to own. Raises WorkspaceOwned when there is another.

        As numbers follow from each other there can only be another when claims were removed meanwhile: wiped with the
        folder, or so old that they were tidied away while this process stood still.
        """
        listing = self.claims.listing()
        others = [number for number in listing.new_since(view.listing) if number != claim.number]
        if others and max(others) > claim.number:
            if claim.epoch + 1 not in others:
                self.claims.remove(claim)  # an old number, free because it was tidied away: so be it again
            raise self._refusal(self._view().standing)
        for number in others:
            if not listing.is_released(number) and self._is_last(number, listing):
                self.claims.release(claim.number, claim.accepted)
                raise WorkspaceOwned(
                    f"Someone else claimed {self.layout.workspace_id} at the same moment, from a folder just emptied.",
                    hint="Try again in a moment.",
                )
        self._mine, self._beat, self._shown, self._lost = claim, 0, False, None
        self._set_deadline(began + self.times.deadline)
        self.claims.tidy(view.listing, claim)
        if view.standing.state in ("stale", "damaged") and view.lease is not None:
            self._keep_stale_lease(view.lease)

    def _is_last(self, number: int, listing: Listing) -> bool:
        """Whether no other claim follows this one."""
        try:
            claim = self.claims.read(number)
        except ClaimDamaged:
            return True
        return claim is not None and claim.epoch + 1 not in listing.numbers

    def _keep_stale_lease(self, lease: Lease) -> None:
        """Copies the lease of an owner that fell silent to `stale/`; our own first heartbeat takes its place.

        A move would do both at once, and, done late by a process that was stopped just before it, take away the
        heartbeat of a living owner.
        """
        at = (iso(self._wall()) or "")[:19].replace(":", "").replace("-", "") + "Z"
        with suppress(StorageError):
            write_row(self.folder, f"stale/{lease.workspace_id}__{at}__{lease.machine_id}", lease)

    def refusal(self, standing: Standing) -> FlowsteadError | None:
        """What `claim` raises while the workspace stands so; None when it would not."""
        return None if self._may_follow(standing, force=False) else self._refusal(standing)

    def _refusal(self, standing: Standing) -> FlowsteadError:
        if standing.state == "damaged":
            left = self.times.stale - standing.unchanged
            return WorkspaceOwned(
                standing.reason,
                code=ClaimDamaged.code,
                hint=ClaimDamaged.default_hint + (f" (possible in {left:.0f} s)" if left > 0 else ""),
                **standing.as_dict(),
            )
        hint = WorkspaceOwned.default_hint
        if standing.state == "owned":
            hint += (
                f"; if that machine is dead, this one may take over in {self.times.stale - standing.unchanged:.0f} s."
            )
        return WorkspaceOwned(f"{self.layout.workspace_id}: {standing.reason}", hint=hint, **standing.as_dict())

    # -- owning ------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch that this process claimed last; 0 before."""
        return self._mine.epoch if self._mine else 0

    @property
    def accepted(self) -> int:
        """The last generation before this process' own first one."""
        return self._mine.accepted if self._mine else 0

    @property
    def valid(self) -> bool:
        """Whether this process may act as the owner now."""
        return self._boottime() < self.deadline

    @property
    def own_standing(self) -> Standing | None:
        """What `look` says of this process' own claim, by what it knows itself; None while it does not own.

        `unchanged` is for how long the heartbeat has not been renewed.
        """
        mine = self._mine
        age = self._boottime() - (self.deadline - self.times.deadline)
        if mine is None or age >= self.times.deadline:
            return None
        return of_claim("mine", f"This machine owns it (pid {mine.pid}).", mine, max(0.0, age))

    def check(self) -> None:
        """Raises OwnershipLost when this process may not act as the owner (any more). Costs a look at the clock."""
        if self._boottime() >= self.deadline:
            raise self._loss()

    def renew(self, generation: int) -> None:
        """The heartbeat: to be called every `beat` seconds, the first time soon after the claim.

        `generation` is the last one published. Raises OwnershipLost, for good, when another machine has claimed, this
        claim was damaged, or the deadline passed; StorageError when the folder cannot be reached, and then the
        deadline stays what it is: try again until it passes.
        """
        with self._lock:
            # Before all else: how long the rest takes is not known, and the process may be stopped at any line.
            began = self._boottime()
            self.check()
            mine = self._mine
            assert mine is not None, "a deadline without a claim"
            if self.claims.listing().highest > mine.number:
                raise self._lose(self._who_has_it())
            if not self.claims.is_intact(mine):
                raise self._lose("This machine's claim was removed or damaged.")
            self._write_lease("active", generation)
            # A heartbeat that took until after the deadline may have come too late to be seen.
            self.check()
            self._set_deadline(began + self.times.deadline)
            if not self._shown:
                self._shown = True
                mark(self.folder, self.layout.workspace_id, leased=True, text=f"{mine.machine.host} {mine.pid}\n")
                with suppress(StorageError):
                    self.withdraw_request()
                    self.folder.sweep("claims")
                    self.folder.sweep("leases")

    def release(self, generation: int) -> None:
        """Frees the workspace for others; `generation` is the last one published. Call it when all work has stopped.

        Not the owner (any more), it does nothing. Raises StorageError when the folder cannot be reached; then this
        process is not the owner any more either, and others wait until they have seen it silent for long enough.
        """
        with self._lock:
            mine, owned = self._mine, self.valid
            self._lost = OwnershipLost(f"This process released {self.layout.workspace_id}.")
            self._set_deadline(0.0)
            self._mine = None
            if mine is None or not owned:
                return
            self.claims.release(mine.number, max(generation, mine.accepted))
            if self._beat:
                with suppress(StorageError):  # only for people and tools: the claim is released
                    self._write_lease("released", generation, mine)
                    mark(self.folder, self.layout.workspace_id, leased=False, text="")

    def fall_silent(self) -> None:
        """Stops to own without a release, as if this process had died: for one that may have left a write half done."""
        with self._lock:
            self._lost = OwnershipLost(f"This process gave {self.layout.workspace_id} up.")
            self._set_deadline(0.0)
            self._mine = None

    def _write_lease(self, status: str, generation: int, claim: Claim | None = None) -> None:
        mine = claim or self._mine
        assert mine is not None
        # Also when the last one seemed to fail: it may have been seen, and this one must not look as old as that.
        self._beat += 1
        lease = Lease(
            workspace_id=self.layout.workspace_id,
            machine_id=mine.machine.id,
            host=mine.machine.host,
            daemon_id=mine.daemon_id,
            pid=mine.pid,
            status=status,
            started=mine.time,
            last_checkpoint=self._wall(),
            app_version=mine.version,
            snapshot_generation=max(generation, mine.accepted),
            epoch=mine.epoch,
            beat=self._beat,
        )
        write_row(self.folder, lease_file(self.layout.workspace_id), lease)

    def _who_has_it(self) -> str:
        try:
            return self._view().standing.reason
        except StorageError as error:
            return error.message

    def _lose(self, why: str) -> OwnershipLost:
        self._lost = OwnershipLost(f"This machine no longer owns {self.layout.workspace_id}: {why}", epoch=self.epoch)
        self._set_deadline(0.0)
        return self._lost

    def _loss(self) -> OwnershipLost:
        if self._lost is None and self._mine is not None:
            silent = f"its heartbeat could not be renewed within {self.times.deadline:.0f} s"
            self._lost = OwnershipLost(
                f"This machine no longer owns {self.layout.workspace_id}: {silent}.", epoch=self.epoch
            )
        return self._lost or OwnershipLost(f"This process does not own {self.layout.workspace_id}.")

    def _set_deadline(self, deadline: float) -> None:
        """Also tells the workers, by 8 bytes in a file of this machine: 0 when there is nothing to work for."""
        self.deadline = deadline
        with suppress(OSError):  # then workers end with their engine, as they do without ownership
            self.layout.deadline.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.layout.deadline, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            try:
                os.write(fd, struct.pack("<d", deadline))
            finally:
                os.close(fd)

    # -- handing over ------------------------------------------------------------------------------------------

    def request_control(self, client_kind: str) -> ControlRequest:
        """Asks the owner for the workspace; returns the request that now stands.

        That is another machine's, where one asked before and its request has not expired. Asking again prolongs an
        own request. Raises StorageError.
        """
        with self._lock:
            standing = self._standing_request()
            if standing is not None and standing.machine_id != self.machine.id:
                return standing
            request = ControlRequest(
                machine_id=self.machine.id,
                host=self.machine.host,
                pid=os.getpid(),
                client_kind=client_kind,
                time=self._wall(),
                request_id=os.urandom(8).hex(),
            )
            write_row(self.folder, request_file(self.layout.workspace_id), request)
            return request

    def withdraw_request(self) -> None:
        """Takes back what this machine asked for, if it did. Raises StorageError."""
        with self._lock:
            request = self._standing_request()
            if request is not None and request.machine_id == self.machine.id:
                self.folder.remove(request_file(self.layout.workspace_id))

    def request(self) -> ControlRequest | None:
        """What another machine asks of this one; None when none does, or none that was repeated for 10 minutes."""
        request = self._standing_request()
        return None if request is None or request.machine_id == self.machine.id else request

    def _standing_request(self) -> ControlRequest | None:
        """The request of any machine that is there and has not expired; the requester's clock counts for nothing."""
        before = self._boottime()
        request = read_row(self.folder, request_file(self.layout.workspace_id), ControlRequest)
        if request is None:
            return None
        age = self._sightings.unchanged("request", [request.request_id], before, self._boottime())
        return None if age >= self.times.request_expiry else request


_ENDINGS = {"free": "release", "mine": "death", "stale": "silence", "damaged": "damage"}
"""How an owner ended, by what its successor found."""
