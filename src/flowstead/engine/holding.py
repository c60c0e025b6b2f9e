"""What one process of this machine has of a workspace: the right to write its ledger, and a view of who owns it.

Two levels: the engine lock lets one process of a machine write that machine's ledger; the claim lets one machine run
the workspace. An Observer needs the first, an Engine both.
"""

from __future__ import annotations

from contextlib import ExitStack

from flowstead.engine.clock import Clock
from flowstead.engine.following import Followed, follow, last_generation
from flowstead.ledger import Ledger
from flowstead.model.errors import WorkspaceBusy
from flowstead.model.lock import ProcessLock
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.machine import this_machine
from flowstead.workspace.ownership import Ownership, Times
from flowstead.workspace.segments import Accepted, Segments


class Holding:
    """Takes the engine lock and opens the ledger, in the name of `command`; ends with `close`.

    `times` are those of the ownership protocol; all machines of a workspace have the same.
    Raises WorkspaceBusy naming the process that has it, and what opening a ledger raises.
    """

    def __init__(
        self,
        layout: WorkspaceLayout,
        settings: Settings,
        *,
        command: str,
        clock: Clock | None = None,
        times: Times | None = None,
    ) -> None:
        layout.prepare()
        self.layout = layout
        self.settings = settings
        self.command = command
        self.clock = clock or Clock()
        self._lock_file = ProcessLock(layout.engine_lock)
        if not self._lock_file.acquire(command):
            raise _busy(layout, self._lock_file)
        with ExitStack() as undo:
            undo.callback(self._lock_file.release)
            self.ledger = Ledger(layout.ledger, durability=settings.durability, clock=self.clock.now)
            undo.callback(self.ledger.close)
            self.ownership = ownership_of(layout, self.clock, times)
            self.segments = Segments(self.ownership.folder)
            undo.pop_all()

    def follow(self) -> Followed:
        """Takes what other machines have published into the ledger; what is missing or damaged is told, not skipped."""
        standing = self.ownership.look()
        counting = Accepted(standing.epoch, standing.generation, self.ownership.claims.bound)
        return follow(self.layout, self.ledger, self.segments, counting)

    def claim(self, *, force: bool = False) -> int:
        """Makes this machine the owner, with all that its predecessors published; returns the epoch.

        With `force` also past a damaged claim that has been there, unchanged, for long enough. Raises WorkspaceOwned.
        """
        self.follow()
        known = int(self.ledger.write(lambda tx: tx.get_meta("epoch") or 0))
        if force:
            epoch = self.ownership.takeover(force=True, accepted=self._last_generation, at_least=known)
        else:
            epoch = self.ownership.claim(self.command, accepted=self._last_generation, at_least=known)
        # Race: the owner before may have published once more between the two.
        self.follow()
        self.ledger.write(lambda tx: tx.begin_epoch(epoch))
        return epoch

    def _last_generation(self) -> int:
        return last_generation(self.ledger, self.segments, self.ownership.claims)

    def release(self, generation: int) -> None:
        """Gives the workspace free, `generation` being the last one published."""
        self.ledger.guard = None
        self.ownership.release(generation)

    def fall_silent(self) -> None:
        """Gives the workspace up without a word: others take it over once they have seen that."""
        self.ledger.guard = None
        self.ownership.fall_silent()

    def close(self) -> None:
        with ExitStack() as last:
            last.callback(self._lock_file.release)
            last.callback(self.ledger.close)


def ownership_of(layout: WorkspaceLayout, clock: Clock, times: Times | None = None) -> Ownership:
    """Who owns the workspace, as this machine sees it: the one of the home in which the workspace's records are."""
    machine = this_machine(layout.local.parents[1])
    return Ownership(layout, machine=machine, boottime=clock.boottime, wall=clock.now, times=times or Times())


def _busy(layout: WorkspaceLayout, lock: ProcessLock) -> WorkspaceBusy:
    holder = lock.holder()
    pid, command = holder.get("pid"), holder.get("command")
    who = f"process {pid} ({command})" if pid else "another process"
    return WorkspaceBusy(
        f"The workspace {layout.workspace_id} is in use by {who}.",
        hint="Wait for it, or watch its runs with: flowstead runs",
        **holder,
    )
