"""The pool: some environments of each kind are ready at any time, and each is given to exactly one holder.

Nothing here has a thread of its own: `tend` looks at how things stand and returns the jobs that are due, for whoever
has threads for them (the daemon), or does them in turn (a test). What is asked for by people (`take`, `give_back`, ...)
may come at any time, from any thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowstead.environments import pool_members as members
from flowstead.environments.pool_kinds import Kind, KindStatus, status_of
from flowstead.environments.pool_rows import Member, PoolRows
from flowstead.environments.pool_supply import Supply, Template, Trouble
from flowstead.environments.processes import start_of
from flowstead.model.errors import FlowsteadError, NotFound, PoolRefused

SECONDS_TO_WARM = 5.0
"""For how long a take waits for members that are being made, before it has one made for itself."""

SECONDS_TO_ADOPT = 5.0
"""For how long a take waits until the pool knows what is left of its last time."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do; never raises. One that `builds` mostly waits for an installer, and may take minutes."""

    do: Callable[[], None]
    builds: bool = False


class Pool:
    """The members in `folder`, which are on record in `rows`.

    `clock` counts seconds, `chance` gives a number from 0 to 1, and `start_of` is that of processes. `on_work` is
    called when `tend` should be, by the thread of whoever gave reason to.
    """

    def __init__(
        self,
        folder: Path,
        rows: PoolRows,
        supplies: Iterable[Supply],
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        start_of: Callable[[int], str | None] = start_of,
        on_work: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self._rows = rows
        self._kinds = {supply.kind: Kind(supply) for supply in supplies}
        self._clock = clock
        self._chance = chance
        self._start_of = start_of
        self._on_work = on_work
        self._lock = threading.RLock()
        self._warmed = threading.Condition(self._lock)
        self._adopted = threading.Event()
        self._busy: set[str] = set()
        """Ids of members whose files a job or a take of this process works on."""
        self._undeleted: dict[str, Trouble] = {}

    # -- what is asked for -----------------------------------------------------------------------------------------

    def take(self, kind: str, holder: int) -> Member:
        """Lends an environment of that kind to the process `holder`, until it is given back or the process ends.

        Where none is ready and there is a template, one is made. Raises NotFound (`pool-kind-unknown`), PoolRefused
        (`pool-off`, `pool-warming`, `pool-holder-gone`), and what keeps the template from being built.
        """
        known = self._kind(kind)
        since = self._holder(holder)
        self._adopted.wait(SECONDS_TO_ADOPT)
        with self._lock:
            if known.target == 0:
                raise PoolRefused(f"There is no pool of {kind} environments: {known.off}.", code="pool-off", kind=kind)
            digests, serving = known.served, known.serving
            error = known.full.error
            if known.base is not None and error is not None:
                error = known.base.error
        member = self._rows.take(kind, digests, holder, since)
        deadline = time.monotonic() + SECONDS_TO_WARM
        while member is None and self._await_warmed(known, deadline):
            member = self._rows.take(kind, digests, holder, since)
        if member is None and serving is not None:
            member = self._make_for(known, serving, holder, since)
        if member is not None:
            self._on_work()
            return member
        if error is not None:
            raise error
        raise PoolRefused(
            f"No {kind} environment is ready yet: the first one is being built.",
            code="pool-warming",
            hint="Try again in a moment. See how far it is with: flowstead pool status",
            kind=kind,
        )

    def give_back(self, path: str) -> Member:
        """Takes an unchanged environment back; returns its row, `ready` or, where there are enough, `leaving`.

        Raises PoolRefused (`pool-foreign`, `pool-not-lent`, `pool-changed`) and touches no file then.
        """
        member = self._lent(path)
        folder = self._folder(member)
        # Race: of two that return it, one is told that it came too late.
        if not self._rows.change(member, "lent", "returning"):
            raise _not_lent(path)
        done = False
        try:
            if not members.is_plain(folder / members.VENV):
                raise members.foreign(path, "This leads through a link")
            change, compiled = members.difference(folder)
            if change is not None:
                raise PoolRefused(
                    f"It is not what was lent: {change} (in {folder}).",
                    code="pool-changed",
                    hint="Keep it as long as you need it; it is deleted when the process that took it ends.",
                    path=path,
                    change=change,
                )
            members.drop_compiled(folder, compiled)
            done = True
        except OSError as error:
            raise PoolRefused(f"Cannot look at {path}: {error.strerror}.", code="pool-changed", path=path) from error
        finally:
            if not done:
                self._rows.change(member, "returning", "lent")
        known = self._kinds.get(member.kind)
        with self._lock:
            back = None
            if known is not None and member.digest in known.wanted:
                back = self._rows.restock(member.id, known.target)
            if back is None:
                self._rows.change(member, "returning", "leaving")
        self._on_work()
        return back or self._rows.member(member.id) or member

    def discard(self, path: str) -> Member:
        """Deletes what was lent, changed or not, before its holder ends. Raises PoolRefused as give_back."""
        member = self._lent(path)
        if not self._rows.change(member, "lent", "leaving"):
            raise _not_lent(path)
        self._on_work()
        return self._rows.member(member.id) or member

    def hand_over(self, path: str, holder: int) -> Member:
        """From now on the lent environment is held by another process. Raises PoolRefused as give_back, and
        `pool-holder-gone`."""
        member = self._lent(path)
        handed = self._rows.hand_over(member.id, holder, self._holder(holder))
        if handed is None:
            raise _not_lent(path)
        self._on_work()
        return handed

    def flush(self, kind: str | None = None) -> int:
        """Deletes the ready and the warming members, of one kind or of all, and makes new ones: what has failed is
        tried again, what was shut down begins again. Returns how many there were. Raises NotFound."""
        return self._clear(kind, stop=False)

    def shutdown(self, kind: str | None = None) -> int:
        """Deletes the ready and the warming members, and makes no others until `flush`; what is lent stays with its
        holder. Returns how many there were. Raises NotFound."""
        return self._clear(kind, stop=True)

    def status(self) -> list[KindStatus]:
        """How each kind stands."""
        self._adopted.wait(SECONDS_TO_ADOPT)
        with self._lock:
            everyone = self._rows.all()
            return [status_of(known, everyone, self._clock()) for known in self._kinds.values()]

    def members(self) -> list[Member]:
        """All that there are, the oldest first."""
        return self._rows.all()

    def path(self, member: Member) -> Path:
        """The environment of a member."""
        return self._folder(member) / members.VENV

    @property
    def holders(self) -> set[int]:
        """The processes that hold something."""
        return {each.holder for each in self._rows.all("lent") if each.holder is not None}

    # -- what is to be done ----------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """Takes over what an earlier process has left: ready members that are whole, and what living processes hold.

        Call it once, before `tend`.
        """
        with self._lock:
            for known in self._kinds.values():
                self._learn(known)
                if known.full.digest is not None:
                    self._rows.relabel(known.supply.kind, known.full.digest)
            for kind in {each.kind for each in self._rows.all()}:
                self._rows.clear(kind, "warming", "lending")
            for member in self._rows.all("returning"):
                self._rows.change(member, "returning", "lent")
            for member in self._rows.all("ready"):
                if member.kind not in self._kinds or not members.is_whole(self._folder(member)):
                    self._rows.change(member, "ready", "leaving")
            members.delete_others(self.folder, {each.name for each in self._rows.all()})
            self._adopted.set()

    def tend(self) -> list[Job]:
        """Takes back what the dead have held, and returns what is to be done now; no job raises.

        Call it again when a job has ended, when a holder has, at `next_at`, and on `on_work`.
        """
        jobs: list[Job] = []
        with self._lock:
            now = self._clock()
            for member in self._rows.all("lent"):
                if self._is_orphan(member):
                    self._rows.change(member, "lent", "leaving")
            for known in self._kinds.values():
                jobs += self._due(known, now)
            for member in self._rows.all("leaving"):
                trouble = self._undeleted.get(member.id)
                if member.id not in self._busy and (trouble is None or trouble.retry_at <= now):
                    self._busy.add(member.id)
                    jobs.append(Job(lambda member=member: self._delete(member)))
        return jobs

    def next_at(self) -> float | None:
        """When `tend` has something to do though nothing happens; None for never."""
        with self._lock:
            now = self._clock()
            times = [each.retry_at for each in self._undeleted.values()]
            for known in self._kinds.values():
                for template in (known.full, known.base):
                    if known.target and template is not None:
                        times.append(template.retry_at)
            return min((each for each in times if each > now), default=None)

    def _await_warmed(self, known: Kind, deadline: float) -> bool:
        """Waits until a member is whole that is being made now, where not as many wait for one already: it was begun
        earlier than one that would be made for who takes it. Whether it was worth to look again."""
        with self._lock:
            if known.cloning <= known.waiting:
                return False
            known.waiting += 1
            try:
                return self._warmed.wait(max(0.0, deadline - time.monotonic()))
            finally:
                known.waiting -= 1

    def _due(self, known: Kind, now: float) -> list[Job]:
        jobs: list[Job] = []
        kind, target = known.supply.kind, known.target
        if target == 0:
            self._rows.clear(kind, "ready", "warming")
            return []
        for template in (known.full, known.base):
            if template is None or template.ready or template.building or template.retry_at > now:
                continue
            if template is known.base and (known.full.ready or known.full.building_trouble.error is None):
                continue
            template.building = True
            jobs.append(Job(lambda template=template: self._build(known, template), builds=True))
        if known.full.digest is not None:
            for member in self._rows.all("ready", "warming", kind=kind):
                if member.digest not in known.wanted:
                    self._rows.change(member, member.state, "leaving")
        ready = self._rows.all("ready", kind=kind)
        for member in ready[target:]:
            self._rows.change(member, "ready", "leaving")
        serving = known.serving
        while serving is not None and serving.digest is not None and serving.cloning_trouble.retry_at <= now:
            member_id = members.new_id()
            self._busy.add(member_id)
            member = self._rows.reserve(member_id, kind, serving.digest, base_only=serving.base_only, target=target)
            if member is None:
                self._busy.discard(member_id)
                break
            jobs.append(Job(lambda member=member, template=serving: self._warm(known, template, member)))
        return jobs

    # -- jobs ------------------------------------------------------------------------------------------------------

    def _build(self, known: Kind, template: Template) -> None:
        again = template.building_trouble.failures > 0

        def tell(progress: Any) -> None:
            template.progress = progress

        try:
            digest = known.supply.digest(base_only=template.base_only)
            with self._lock:
                template.digest = digest
            known.supply.build(digest, again=again, tell=tell)
            if known.supply.template(digest) is None:
                raise _gone()
        except Exception as error:
            with self._lock:
                template.building_trouble.failed(_coded(error), self._clock(), self._chance())
        else:
            with self._lock:
                template.ready = True
                template.building_trouble.over()
                template.cloning_trouble.over()
        finally:
            with self._lock:
                template.building, template.progress = False, None
            self._on_work()

    def _warm(self, known: Kind, template: Template, member: Member) -> None:
        with self._lock:
            known.cloning += 1
        try:
            # Race: a flush, or another template, may have come between.
            if (found := self._rows.member(member.id)) is not None and found.state == "warming":
                self._clone(known, template, member)
                self._rows.change(member, "warming", "ready")
        except Exception as error:
            self._cloning_failed(known, template, error)
            self._rows.change(member, "warming", "leaving")
        finally:
            with self._lock:
                known.cloning -= 1
                self._warmed.notify_all()
            self._free(member)

    def _make_for(self, known: Kind, template: Template, holder: int, since: str) -> Member | None:
        """A member for one who takes it at once. Raises what keeps it from being made."""
        assert template.digest is not None
        member_id = members.new_id()
        with self._lock:
            self._busy.add(member_id)
        member = self._rows.lend_new(
            member_id,
            known.supply.kind,
            template.digest,
            base_only=template.base_only,
            holder=holder,
            holder_started=since,
        )
        if member is None:
            return None
        try:
            self._clone(known, template, member)
            self._rows.change(member, "lending", "lent")
            return self._rows.member(member.id)
        except Exception as error:
            coded = self._cloning_failed(known, template, error)
            self._rows.change(member, "lending", "leaving")
            raise coded from error
        finally:
            self._free(member)

    def _clone(self, known: Kind, template: Template, member: Member) -> None:
        assert template.digest is not None
        source = known.supply.template(template.digest)
        if source is None:
            raise _gone()
        folder = self._folder(member)
        folder.mkdir(parents=True)
        known.supply.clone(source, folder / members.VENV)
        members.write_listing(folder)
        with self._lock:
            template.cloning_trouble.over()

    def _cloning_failed(self, known: Kind, template: Template, error: Exception) -> FlowsteadError:
        coded = _coded(error)
        with self._lock:
            if template.digest is None or known.supply.template(template.digest) is None:
                template.ready = False  # it was removed, and is built again
            elif template.cloning_trouble.retry_at <= self._clock():
                # Of several that fail side by side, one counts.
                template.cloning_trouble.failed(coded, self._clock(), self._chance())
        return coded

    def _delete(self, member: Member) -> None:
        deleted = members.delete(self._folder(member))
        with self._lock:
            if deleted:
                self._undeleted.pop(member.id, None)
                self._rows.forget(member.id)
            else:
                error = PoolRefused(f"Cannot delete {self._folder(member)}.")
                self._undeleted.setdefault(member.id, Trouble()).failed(error, self._clock(), self._chance())
        self._free(member)

    def _free(self, member: Member) -> None:
        with self._lock:
            self._busy.discard(member.id)
        self._on_work()

    # -- the rest --------------------------------------------------------------------------------------------------

    def _kind(self, kind: str) -> Kind:
        if kind not in self._kinds:
            raise NotFound(
                f"There is no pool of {kind!r}.",
                code="pool-kind-unknown",
                hint=f"There is one of {' and of '.join(self._kinds)}.",
            )
        return self._kinds[kind]

    def _holder(self, pid: int) -> str:
        since = self._start_of(pid) if pid > 0 else None
        if since is None:
            raise PoolRefused(f"There is no process {pid} to hold it.", code="pool-holder-gone", hint="", pid=pid)
        return since

    def _is_orphan(self, member: Member) -> bool:
        """Whether the process that holds it has ended; in doubt it has not."""
        since = None if member.holder is None else self._start_of(member.holder)
        return since is None or (since != "" and since != member.holder_started and member.holder_started != "")

    def _lent(self, path: str) -> Member:
        member_id = members.id_of(path, self.folder)
        member = self._rows.member(member_id)
        if member is None or member.state != "lent" or str(self.path(member)) != path.rstrip("/\\"):
            raise _not_lent(path)
        return member

    def _folder(self, member: Member) -> Path:
        return self.folder / member.name

    def _learn(self, known: Kind) -> None:
        """Which members of before are still what is wanted."""
        if known.supply.off:
            return
        for template in (known.full, known.base):
            if template is None:
                continue
            try:
                template.digest = known.supply.digest(base_only=template.base_only)
                template.ready = known.supply.template(template.digest) is not None
            except Exception as error:
                template.building_trouble.failed(_coded(error), self._clock(), self._chance())

    def _clear(self, kind: str | None, *, stop: bool) -> int:
        kinds = [self._kind(kind)] if kind is not None else [*self._kinds.values()]
        with self._lock:
            cleared = 0
            for known in kinds:
                known.stopped = stop
                cleared += self._rows.clear(known.supply.kind, "ready", "warming")
                for template in (known.full, known.base):
                    if template is not None:
                        template.building_trouble.retry_at = template.cloning_trouble.retry_at = 0.0
        self._on_work()
        return cleared


def _not_lent(path: str) -> PoolRefused:
    return PoolRefused(f"This environment is not lent: {path}.", code="pool-not-lent", path=path)


def _gone() -> PoolRefused:
    return PoolRefused("What the pool's environments are copied from is gone; it is made anew.", code="pool-warming")


def _coded(error: Exception) -> FlowsteadError:
    if isinstance(error, FlowsteadError):
        return error
    if isinstance(error, OSError):
        return PoolRefused(f"An environment could not be made: {error}.", code="pool-failed")
    return PoolRefused(f"An environment could not be made: {type(error).__name__}: {error}.", code="pool-failed")
