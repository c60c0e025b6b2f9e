"""The pool in the daemon: a thread that sees what is to be done, and some that do it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flowstead.daemon.log import log
from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.pool import Job, Pool
from flowstead.environments.pool_cached import CachedSupply, supplies_of
from flowstead.environments.pool_holders import Holders
from flowstead.environments.pool_rows import PoolRows
from flowstead.model.settings import Settings

SECONDS_AFTER_FAILURE = 15.0
SECONDS_TO_END = 10.0


def open_pooling(folder: Path, open_cache: Callable[[], EnvironmentCache]) -> Pooling:
    """The pool of the home `folder`, as its settings have it, and at work. Raises HomeUnwritable, UsageError."""
    settings = Settings.load(folder)
    # Beside its members, and not with the environments: those several homes may share, a pool is that of one daemon.
    rows = PoolRows(folder / "pool" / "pool.sqlite3")
    return Pooling(folder / "pool", rows, supplies_of(settings, open_cache))


class Pooling:
    """Tends a pool until `close`. While nothing happens nothing of it runs: it waits for holders to end."""

    def __init__(self, folder: Path, rows: PoolRows, supplies: Iterable[CachedSupply]) -> None:
        self._supplies = [*supplies]
        self._rows = rows
        self._holders = Holders()
        self._closing = False
        self.pool = Pool(folder, rows, self._supplies, on_work=self._holders.wake)
        self._doing = ThreadPoolExecutor(max(1, os.cpu_count() or 1), thread_name_prefix="pool")
        self._building: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends it; what is ready stays ready for the next one, what is lent stays lent."""
        self._closing = True
        self._holders.wake()
        self._thread.join(SECONDS_TO_END)
        self._doing.shutdown(wait=True, cancel_futures=True)
        for supply in self._supplies:
            supply.close()
        if not any(each.is_alive() for each in self._building):
            self._rows.close()

    def _run(self) -> None:
        try:
            self.pool.adopt()
        except Exception as error:
            log("What is left of the pool cannot be taken over.", level=logging.ERROR, error=error)
        while not self._closing:
            seconds: float | None = SECONDS_AFTER_FAILURE
            try:
                for job in self.pool.tend():
                    self._begin(job)
                self._holders.watch(self.pool.holders)
                due = self.pool.next_at()
                seconds = None if due is None else max(0.0, due - time.monotonic())
            except Exception as error:
                log("The pool cannot be tended.", level=logging.ERROR, error=error)
            # Race: close may have been called before the wait; what it has written wakes it all the same.
            self._holders.wait(seconds)
        self._holders.close()

    def _begin(self, job: Job) -> None:
        if not job.builds:
            self._doing.submit(job.do)
            return
        # Not in the others' threads: a build waits for minutes, and they have little to do each.
        self._building = [each for each in self._building if each.is_alive()]
        self._building.append(threading.Thread(target=job.do, name="pool-build", daemon=True))
        self._building[-1].start()
