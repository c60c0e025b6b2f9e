"""Compacting published state for its owner: a little of it at once here, what is large in a process of its own.

That process is `python -m flowstead.engine.compacting ROOT LOCAL EPOCH RANGE...`. It may outlive the engine, and even
its ownership: all that it does is to write again, under the epoch that it was begun in, what counts anyway.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from flowstead.engine.following import gaps_of
from flowstead.engine.publishing import POSITION
from flowstead.ledger import Ledger, LedgerReader
from flowstead.ledger import statements as sql
from flowstead.model.errors import FlowsteadError
from flowstead.workspace.compaction import Known, compact, covered, is_whole, next_group
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.segments import Accepted, Range, Segments
from flowstead.workspace.shared import SharedFolder

MOST_HERE = 256 << 10
"""Bytes of segments up to which they are compacted here: some 50 ms of one thread."""
LARGEST = 16 << 20
"""Bytes from which segments stay as they are: with them a process would need too much memory."""


class Compactor:
    """Compacts for the owner of `epoch`; `step` is to be called after a publication. Ends with `close`."""

    def __init__(self, layout: WorkspaceLayout, ledger: Ledger, segments: Segments, *, epoch: int) -> None:
        self._layout = layout
        self._reader = ledger.reader
        self._segments = segments
        self._epoch = epoch
        self._child: subprocess.Popen[bytes] | None = None
        self._left_alone: set[Range] = set()

    def step(self, accepted: Accepted) -> Range | None:
        """Compacts the groups of segments that are ready, or begins to; returns the range of the last that is done.

        `accepted` as for follow, with the publisher's generation. Raises StorageError.
        """
        if self._child is not None:
            if self._child.poll() is None:
                return None
            self._child = None
        there = self._segments.counting(accepted)
        self._remove_covered(there)
        last, left = None, MOST_HERE
        while group := next_group((each for each in there if each not in self._left_alone), gaps_of(self._reader)):
            size = self._size(group)
            if size is None or size > LARGEST:
                self._left_alone.update(group)
                continue
            if size > left:
                self._begin_child(group)
                break
            left -= size
            done = compact(self._segments, group, self._epoch, known_in(self._reader, group[-1].last))
            if done is None:
                self._left_alone.update(group)
                continue
            # It may be the last that was missing for a group of the next tier.
            there = [each for each in there if each not in group] + [done]
            last = done
        return last

    def _remove_covered(self, there: list[Range]) -> None:
        """Removes what a compaction that was cut short left beside its result."""
        for each in covered(there):
            there.remove(each)
            wide = next((other for other in there if other.first <= each.first and each.last <= other.last), None)
            if wide is not None and is_whole(self._segments, wide):
                self._segments.remove(each)

    def _size(self, group: Sequence[Range]) -> int | None:
        """The bytes of these segments; None when one cannot be read."""
        total = 0
        for each in group:
            try:
                size = self._segments.size(each)
            except ValueError:
                return None
            if size is None:
                return None
            total += size
        return total

    def _begin_child(self, group: Sequence[Range]) -> None:
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-m", "flowstead.engine.compacting"),
                *(str(self._layout.root), str(self._layout.local), str(self._epoch)),
                *(json.dumps(each) for each in group),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
        )

    def wait(self, timeout: float | None = None) -> None:
        """Waits for the process that compacts, if there is one. Raises subprocess.TimeoutExpired."""
        if self._child is not None:
            self._child.wait(timeout)

    def close(self) -> None:
        """Leaves a process that still compacts to itself; it ends soon, and does no harm."""
        if self._child is not None and self._child.poll() is None:
            self._child.returncode = 0  # so that Popen does not warn of it
        self._child = None


def known_in(reader: LedgerReader, until: int) -> Known:
    """Which runs a ledger still has: what it forgot, all may forget. One that has not seen all up to the generation
    `until`, such as one just begun anew, knows them all."""
    position = json.loads(reader.meta(POSITION) or "[0, 0]")
    if position[1] < until or gaps_of(reader):
        return set
    return lambda run_ids: {row[0] for row in reader.rows(sql.RUNS_KNOWN, (json.dumps(run_ids),))}


def main(root: str, local: str, epoch: str, *ranges: str) -> None:
    layout = WorkspaceLayout(Path(root), Path(local))
    reader = LedgerReader(layout.ledger)
    group = [Range(*json.loads(each)) for each in ranges]
    with suppress(FlowsteadError):  # the share is away: the next owner, or the next time
        compact(Segments(SharedFolder(layout.shared_state)), group, int(epoch), known_in(reader, group[-1].last))
    reader.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
