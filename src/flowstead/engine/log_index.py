"""Where the lines of a run's log are: how many end in each block of its file, so that any of a million is near at hand.

The index grows with the log, block by block. It is kept beside a long log, as `events.index`, for whoever looks next;
without it, it is made anew by reading the log once.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from flowstead.engine.runlog import NAME

INDEX_NAME = "events.index"
BLOCK = 64 * 1024
MOST_INDEXES = 32
BLOCKS_WORTH_KEEPING = 64
"""Beside a log that is shorter, the index would cost more than reading it."""
_HEAD = 256
_HEADER = struct.Struct("<8sIIIQ")
_MAGIC = b"FLOGIDX1"


class LineIndex:
    """The index of one log, as far as its file was read; `refresh` reads what was added. For one thread at a time.

    Only blocks that a later line end follows are counted: what comes after the last one may be torn, and be cut off.
    """

    def __init__(self, folder: Path) -> None:
        self.total = 0
        """How many whole lines were counted."""
        self.counted_to = 0
        """Where the last of them ends."""
        self.end = 0
        """Where the last whole line of the log ends; beyond `counted_to` while not all were counted."""
        self._path = folder / NAME
        self._kept = folder / INDEX_NAME
        self._identity: tuple[int, bytes] | None = None
        self._before = array("Q", [0])
        self._saved = 0

    @property
    def complete(self) -> bool:
        """Whether all lines were counted that the log had at the last look."""
        return self.counted_to == self.end

    def refresh(self, file: BinaryIO, *, seconds: float | None = None) -> None:
        """Takes in what the log has by now; within `seconds`, if they are given, as far as that goes."""
        status = os.fstat(file.fileno())
        if self._identity is None or not self._is_same(file, status):
            self._begin(file, status)
        position = (len(self._before) - 1) * BLOCK
        if status.st_size == self.end == self.counted_to:
            return
        self.end = _whole_end(file, status.st_size, position)
        file.seek(position)
        until = None if seconds is None else time.monotonic() + seconds
        count, blocks = self._before[-1], 0
        while position + BLOCK <= self.end and (until is None or blocks % 64 or time.monotonic() < until):
            count += file.read(BLOCK).count(b"\n")
            self._before.append(count)
            position += BLOCK
            blocks += 1
        # The lines that end in the block that is not full yet, or was not counted yet, are found by their ends.
        rest = file.read(min(BLOCK, self.end - position))
        self.total = count + rest.count(b"\n")
        self.counted_to = position + rest.rfind(b"\n") + 1
        self._keep()

    def offset(self, file: BinaryIO, line: int) -> int:
        """Where a line begins, counted from 0; the end of the last one for those that were not counted."""
        if line <= 0:
            return 0
        if line >= self.total:
            return self.counted_to
        # The line begins after as many line ends as its number says.
        block = bisect_left(self._before, line) - 1
        file.seek(block * BLOCK)
        data = file.read(min(BLOCK, self.counted_to - block * BLOCK))
        position = -1
        for _ in range(line - self._before[block]):
            position = data.index(b"\n", position + 1)
        return block * BLOCK + position + 1

    def _is_same(self, file: BinaryIO, status: os.stat_result) -> bool:
        assert self._identity is not None
        inode, head = self._identity
        file.seek(0)
        return status.st_ino == inode and status.st_size >= self.end and file.read(len(head)) == head

    def _begin(self, file: BinaryIO, status: os.stat_result) -> None:
        file.seek(0)
        head = file.read(_HEAD)
        self._identity = (status.st_ino, head)
        self.total = self.end = self.counted_to = 0
        self._before = self._load(head, status.st_size) or array("Q", [0])
        self._saved = len(self._before)

    # -- kept beside the log -----------------------------------------------------------------------------------

    def _load(self, head: bytes, size: int) -> array[int] | None:
        try:
            data = self._kept.read_bytes()
            magic, block, of_head, checksum, length = _HEADER.unpack_from(data)
        except (OSError, struct.error):
            return None
        body = data[_HEADER.size :]
        if (magic, block, of_head) != (_MAGIC, BLOCK, zlib.crc32(head)) or zlib.crc32(body) != checksum:
            return None
        found = array("Q", body[: len(body) // 8 * 8])
        if sys.byteorder != "little":
            found.byteswap()
        return found if len(found) == length > 0 and (length - 1) * BLOCK <= size else None

    def _keep(self) -> None:
        if len(self._before) - self._saved < BLOCKS_WORTH_KEEPING or self._identity is None:
            return
        counts = self._before[:]
        if sys.byteorder != "little":
            counts.byteswap()
        body = counts.tobytes()
        header = _HEADER.pack(_MAGIC, BLOCK, zlib.crc32(self._identity[1]), zlib.crc32(body), len(counts))
        part = self._kept.with_name(f"{INDEX_NAME}.{os.getpid()}.part")
        try:
            part.write_bytes(header + body)
            part.replace(self._kept)
        except OSError:
            return  # a full disk, or a folder that is going: it is made anew next time
        self._saved = len(self._before)


def _whole_end(file: BinaryIO, size: int, start: int) -> int:
    """Where the last whole line before `size` ends; `start` when none ends after it."""
    position = size
    while position > start:
        begin = max(start, position - BLOCK)
        file.seek(begin)
        found = file.read(position - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return start


class LineIndexes:
    """The indexes of the logs that were looked at last, shared by all who look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Path, tuple[LineIndex, threading.Lock]] = OrderedDict()

    def of(self, folder: Path) -> tuple[LineIndex, threading.Lock]:
        """The index of the log in `folder`, and the lock under which to use it."""
        with self._lock:
            found = self._found.pop(folder, None) or (LineIndex(folder), threading.Lock())
            self._found[folder] = found
            while len(self._found) > MOST_INDEXES:
                self._found.popitem(last=False)
            return found


INDEXES = LineIndexes()
