"""Claims: who took the workspace, and what of its predecessors' work it accepts. A claim never changes.

`claims/00000017.json` is put only if it is absent, so of all who want to follow claim 16 exactly one does; that is
the whole of mutual exclusion here. `claims/00000017.released` says that its owner is done with it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

from flowstead.model.errors import StorageError
from flowstead.model.run import iso
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.shared import SharedFolder

FOLDER = "claims"
KEPT = 200
SETTLED = 600.0
REMOVED_AT_ONCE = 16


class ClaimDamaged(StorageError):
    """A claim is there and cannot be read."""

    code = "claim-damaged"
    default_hint = (
        "If no other workstation runs this workspace, take it over with: flowstead workspace takeover --force"
    )


class Claim(NamedTuple):
    """One claim as it is in its file.

    `number` names the file, and is the epoch but for one claim: when the shared folder was wiped, the first one after
    it has the place 1 and an epoch above all that the claiming machine has seen. Its successor's number is `epoch` + 1.
    `accepted` is the last generation, of all epochs before this one, that counts. `time` is by the wall clock of its
    machine, for people. `lock` names the lock that its process held, see `machine.lock_name`. `after` says how the one
    before ended: `none`, `release`, `death` (on the same machine), `silence`, `damage`.
    """

    number: int
    epoch: int
    machine: MachineIdentity
    lock: str
    daemon_id: str
    pid: int
    version: str
    time: int
    reason: str
    accepted: int
    after: str
    token: str

    def encode(self) -> bytes:
        facts: dict[str, Any] = {
            "epoch": self.epoch,
            "machine_id": self.machine.id,
            "host": self.machine.host,
            "daemon_id": self.daemon_id,
            "pid": self.pid,
            "version": self.version,
            "time": iso(self.time),
            "time_us": self.time,
            "reason": self.reason,
            "accepted": self.accepted,
            "after": self.after,
            "boot_id": self.machine.boot_id,
            "node": self.machine.node,
            "lock": self.lock,
            "token": self.token,
        }
        return json.dumps(facts, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, number: int, data: bytes) -> Claim:
        """Raises ValueError for what is no whole claim."""
        try:
            facts = json.loads(data)
            if int(facts["epoch"]) < number:
                raise ValueError("its epoch is below its number")
            return cls(
                number=number,
                epoch=int(facts["epoch"]),
                machine=MachineIdentity(*(str(facts[name]) for name in ("machine_id", "host", "boot_id", "node"))),
                lock=str(facts["lock"]),
                daemon_id=str(facts["daemon_id"]),
                pid=int(facts["pid"]),
                version=str(facts["version"]),
                time=int(facts["time_us"]),
                reason=str(facts["reason"]),
                accepted=int(facts["accepted"]),
                after=str(facts["after"]),
                token=str(facts["token"]),
            )
        except (LookupError, TypeError) as error:
            raise ValueError(f"it lacks {error}") from error


class Listing:
    """The claims that were seen at one look."""

    def __init__(self, names: list[str]) -> None:
        self._names = set(names)

    def __len__(self) -> int:
        """How many files there are, of whatever kind."""
        return len(self._names)

    @cached_property
    def numbers(self) -> list[int]:
        """Of all claims, ascending."""
        return sorted(_numbers(self._names, ".json"))

    def is_released(self, number: int) -> bool:
        return _name(number, "released") in self._names

    @cached_property
    def highest(self) -> int:
        last = max((name for name in self._names if name.endswith(".json")), default="0.json").removesuffix(".json")
        if last.isdecimal():
            return int(last)  # names sort as their numbers do: each run looks here, and there can be a thousand
        return self.numbers[-1] if self.numbers else 0

    def new_since(self, earlier: Listing) -> list[int]:
        """Of the claims that are in this listing and not in the other."""
        return _numbers(self._names - earlier._names, ".json")


class Claims:
    """The claims of one workspace. Every method raises StorageError when the folder cannot be reached."""

    def __init__(self, folder: SharedFolder, *, kept: int = KEPT, settled: float = SETTLED) -> None:
        self._folder = folder
        self._kept = kept
        self._settled = settled
        self._latest: Listing | None = None
        self._read: dict[int, Claim] = {}
        self._bounds: dict[int, int] = {}

    def listing(self, *, fresh: bool = False) -> Listing:
        """What is there; `fresh` when what a network file system remembers from before will not do."""
        listing = Listing(self._folder.names(FOLDER, fresh=fresh))
        self._latest = listing
        return listing

    def read(self, number: int) -> Claim | None:
        """The claim of that number; None when there is none. Raises ClaimDamaged when it cannot be understood."""
        if number in self._read:
            return self._read[number]
        data = self._folder.read(_file(number))
        if data is None:
            return None
        try:
            claim = Claim.decode(number, data)
        except ValueError as error:
            what = "is empty" if not data else f"is damaged ({error})"
            raise ClaimDamaged(
                f"The claim {self._folder.root / _file(number)} {what}; who owns the workspace cannot be told from it.",
                number=number,
                empty=not data,
            ) from error
        self._read[number] = claim
        return claim

    def put(self, claim: Claim) -> bool:
        """Puts a new claim; returns whether it is this one that now has the number."""
        if not self._folder.put_new(_file(claim.number), claim.encode()):
            return False
        self._read[claim.number] = claim
        return True

    def remove(self, claim: Claim) -> None:
        """Takes a claim back that can have no successor."""
        self._read.pop(claim.number, None)
        with suppress(StorageError):
            self._folder.remove(_file(claim.number))

    def is_intact(self, claim: Claim) -> bool:
        """Whether the file of a claim still holds what was put into it."""
        return self._folder.read(_file(claim.number)) == claim.encode()

    def release(self, number: int, to: int) -> None:
        """Notes that the owner is done; `to` is the last generation that it published. Only the owner does this."""
        self._folder.replace(_file(number, "released"), json.dumps({"to": to}).encode())

    def released(self, number: int) -> int | None:
        """The last generation of a released claim; None for one that is not released, as far as can be told."""
        data = self._folder.read(_file(number, "released"))
        try:
            return None if data is None else int(json.loads(data)["to"])
        except (ValueError, LookupError, TypeError):
            return None  # not whole yet, or cut: then the owner's silence has to tell

    def bound(self, epoch: int) -> int | None:
        """The last generation of `epoch` that counts: what the next claim accepted. None while there is no next one.

        By the last listing. Whoever lists an epoch's segments and then its bound must take that listing in between,
        fresh, or a late segment passes for one in time. Raises ClaimDamaged when the next claim cannot be read.
        """
        if epoch in self._bounds:
            return self._bounds[epoch]
        listing = self.listing() if self._latest is None else self._latest
        numbers = listing.numbers
        at = bisect_right(numbers, epoch)
        # The claim below may be the one whose epoch is higher than its number.
        candidates = numbers[max(0, at - 1) :]
        damaged: ClaimDamaged | None = None
        for number in candidates:
            try:
                claim = self.read(number)
            except ClaimDamaged as error:
                damaged = error if number > epoch else damaged
                continue
            if claim is not None and claim.epoch > epoch:
                if damaged is None:
                    self._bounds[epoch] = claim.accepted
                return claim.accepted
        if damaged is not None:
            raise damaged
        return None

    def tidy(self, listing: Listing, mine: Claim) -> None:
        """Removes what nobody needs, once `mine` follows those in `listing`: the last release, very old claims.

        A number must not become free for one who does not know that it was taken: it would be put again, and whoever
        put it would be the second owner. One who puts an old number looks at the claims once more after it, and then
        finds a higher one, even if the listing it gets is ten minutes old: the oldest claim that is kept was there
        that long ago. That age is the difference of two time stamps which the server itself gave. The newest 200 stay
        in any case.

        A claim after an owner that did not release stays forever: what that one wrote last may turn up at any time.

        A few at a time; what fails here is left for the next.
        """
        with suppress(StorageError):
            if listing.is_released(listing.highest):
                self._folder.remove(_file(listing.highest, "released"))
            if len(listing) <= self._kept or len(listing.numbers) <= self._kept:
                return
            now = self._folder.changed_at(_file(mine.number))
            oldest_kept = self._folder.changed_at(_file(listing.numbers[-self._kept]))
            if now is None or oldest_kept is None or now - oldest_kept < self._settled:
                return
            removed = 0
            for number in listing.numbers[: -self._kept]:
                try:
                    claim = self.read(number)
                except ClaimDamaged:
                    continue
                if claim is None or claim.after not in ("release", "none"):
                    continue
                if listing.is_released(number):
                    self._folder.remove(_file(number, "released"))
                self._folder.remove(_file(number))
                del self._read[number]
                removed += 1
                if removed == REMOVED_AT_ONCE:
                    return


def _numbers(names: set[str], kind: str) -> list[int]:
    end = -len(kind)
    return [int(name[:end]) for name in names if name.endswith(kind) and name[:end].isdecimal()]


def _file(number: int, kind: str = "json") -> str:
    return f"{FOLDER}/{_name(number, kind)}"


def _name(number: int, kind: str) -> str:
    return f"{number:08d}.{kind}"
