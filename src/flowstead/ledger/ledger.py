"""The ledger's one writing connection, shared by the engine's threads.

Writers that arrive while a commit is under way share the next one (group commit, as in "Implementation Techniques
for Main Memory Database Systems", DeWitt et al., 1984): whoever gets the lock first commits for all who wait.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from flowstead.ledger import statements as sql
from flowstead.ledger.connection import open_writer, translated
from flowstead.ledger.reader import LedgerReader
from flowstead.ledger.transaction import Transaction
from flowstead.model.run import now_us

T = TypeVar("T")


class _Write(Generic[T]):
    __slots__ = ("done", "failure", "operation", "result")

    def __init__(self, operation: Callable[[Transaction], T]) -> None:
        self.operation = operation
        self.result: T | None = None
        self.failure: BaseException | None = None
        self.done = False


class Ledger:
    """Opens, or begins, the ledger at `path`; the caller holds the workspace's engine lock.

    `durability` is `normal` or `full` (see open_writer); `clock` gives microseconds since the epoch. `guard`, which may
    be set later too, is called right before each commit: what it raises is raised by `write`, and nothing is committed.
    Raises LedgerTooNew, LedgerDamaged, HomeUnwritable or StorageError.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str = "normal",
        clock: Callable[[], int] = now_us,
        guard: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self.guard = guard
        self._clock = clock
        self._connection = open_writer(path, durability=durability)
        try:
            with translated(path):
                (self._last_event,) = self._connection.execute(sql.LAST_EVENT).fetchone()
        except BaseException:
            self._connection.close()
            raise
        self._lock = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Write[Any]] = []
        self._committed = threading.Condition()
        self._waiters = 0
        self.reader = LedgerReader(path)

    @property
    def last_event(self) -> int:
        """The number of the newest committed event."""
        return self._last_event

    def write(self, operation: Callable[[Transaction], T]) -> T:
        """Runs `operation` in a transaction and returns its result after the commit.

        `operation` may run twice (alone, after a failure of others in a shared commit), so it changes nothing but
        the transaction. Its own exception rolls back its writes only and is raised here; storage failures are
        raised as coded errors.
        """
        mine = _Write(operation)
        with self._queue_lock:
            self._queue.append(mine)
        with self._lock:
            # Race: the thread that held the lock may have committed this write along with its own.
            if not mine.done:
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                # Race: or it took this write along and was interrupted before the commit.
                if mine not in batch:
                    batch.append(mine)
                self._commit(batch)
        if mine.failure is not None:
            raise mine.failure
        return cast(T, mine.result)

    def _commit(self, batch: list[_Write[Any]]) -> None:
        try:
            with translated(self.path):
                self._attempt(batch)
        except Exception as failure:
            if len(batch) == 1:
                batch[0].failure = failure
                batch[0].done = True
                return
            # One of several failed: each gets its own transaction, so that only the culprit is refused.
            for write in batch:
                self._commit([write])
            return
        if self._waiters:
            with self._committed:
                self._committed.notify_all()

    def _attempt(self, batch: list[_Write[Any]]) -> None:
        connection = self._connection
        seq, committing = self._last_event, False
        try:
            connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(connection, self._clock())
            for write in batch:
                write.result = write.operation(transaction)
            if transaction.events:
                at = transaction.at
                rows: list[tuple[int, int, str, str, str]] = []
                for kind, row_id, change in transaction.events:
                    seq += 1
                    rows.append((seq, at, kind, row_id, change))
                connection.executemany(sql.PUT_EVENT, rows)
            if self.guard is not None:
                self.guard()
            committing = True
            connection.execute("COMMIT")
            self._committed_up_to(seq, batch)
        except BaseException as failure:
            if connection.in_transaction:
                try:
                    connection.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # the first error is the one to tell
            elif committing and not isinstance(failure, sqlite3.Error):
                # Race: Ctrl-C is raised once the commit has returned, which then stands.
                self._committed_up_to(seq, batch)
            raise

    def _committed_up_to(self, seq: int, batch: list[_Write[Any]]) -> None:
        self._last_event = seq
        for write in batch:
            write.done = True

    def wait_for_event(self, after: int, timeout: float | None) -> bool:
        """Blocks until an event newer than `after` is committed or `timeout` seconds pass; tells which."""
        with self._committed:
            self._waiters += 1
            try:
                return self._committed.wait_for(lambda: self._last_event > after, timeout)
            finally:
                self._waiters -= 1

    def close(self) -> None:
        """Closes the connections; the write-ahead log is folded into the file."""
        self.reader.close()
        with self._lock:
            self._connection.close()
