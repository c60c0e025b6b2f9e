"""Flows that run when files arrive or change: what is new is found, waited for until it is whole, and queued."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.engine.automated_flow import RUNS_IN_ONE_COMMIT, AutomatedFlow
from flowstead.engine.freshness import Signature, Sources, ahead, compare, source_root, unrecordable
from flowstead.engine.mounts import is_on_share
from flowstead.flow.files import scan, scan_named
from flowstead.model.run import RunRequest

if TYPE_CHECKING:
    from flowstead.catalog import CatalogEntry
    from flowstead.engine.engine import Engine
    from flowstead.engine.watching import FolderWatcher, Watch

LOOK_AGAIN = 1.0
"""Seconds between the looks at a file that is not settled yet, where the interval is not shorter."""
LOOK_AGAIN_ON_SHARE = 5.0
"""The same on a share: network file systems remember what a file looked like for some seconds."""
CHECK_FOLDER = 2.0
"""Seconds between the looks whether a watched folder is there, and still the one that is watched."""
LOOK_AFTER = 5.0
"""Seconds from a change that was told to a look at everything, for not every change is told. LOOK_AGAIN where it is
known that some were not."""
WATCH_AGAIN = 600.0
"""Seconds until the system is asked again to watch a folder that it would not watch."""
SHARE_OF_TIME = 10
"""To look at the whole folder takes at most one part in so many of the time."""


@dataclass(slots=True)
class _Settling:
    """A new or changed file: what it looked like, since when, at how many looks, and when it was last looked at."""

    signature: Signature
    since: float
    looked: float
    looks: int = 0


class FileArrivals(AutomatedFlow):
    """Starts a run of the flow for each file that is due, or, with `run_as="batch"`, one for all of them.

    Local folders are watched, and looked through at the flow's interval in case something was not told; shares and
    single files are only looked at.
    """

    def __init__(self, engine: Engine, entry: CatalogEntry, watcher: FolderWatcher) -> None:
        super().__init__(engine, entry)
        folder = source_root(self.spec, self.module_dir)
        assert folder is not None and self.spec.trigger.interval is not None
        self.folder: Path = folder
        self.root = engine.layout.root_key(folder)
        self._watcher = watcher
        self._watch: Watch | None = None
        self._identity: tuple[int, int] | None = None
        self._on_share: bool | None = None
        self._interval = self.spec.trigger.interval
        # Set by the watcher's thread, taken by this flow's.
        self._changed: set[str] = set()
        self._everything = False
        self._look_in = math.inf
        self._watch_again_at = 0.0
        self._whole_at = 0.0
        self._took = 0.0
        self._wakes_at: float | None = None
        self._settling: dict[str, _Settling] = {}
        self._busy: set[str] = set()
        self._after_batch = False
        self._last_event = -1
        self._left_out: list[str] = []

    # -- one turn ----------------------------------------------------------------------------------------------

    def turn(self) -> float:
        now = self.engine.clock.monotonic()
        with self._waking:
            changed, self._changed = self._changed, set()
            everything, self._everything = self._everything, False
            look_in, self._look_in = self._look_in, math.inf
        if self._wakes_at is not None and now - self._wakes_at > CHECK_FOLDER:
            everything = True  # this process stood still: more may have happened than was told
        if everything:
            self._whole_at = now
        else:
            self._whole_at = min(self._whole_at, now + max(look_in, SHARE_OF_TIME * self._took))
        try:
            self._find_folder(now)
            if self._watch is not None and self._watch.active is None:
                return self._sleep(now, CHECK_FOLDER)  # the first look comes once it is watched
            if now >= self._whole_at:
                self._look_at_everything(now)
            else:
                self._look_at_some(changed, now)
        except (FileNotFoundError, NotADirectoryError):
            return self._missing(now)
        except OSError as error:
            return self._unreadable(error, now)
        self._say_how_it_stands()
        now = self.engine.clock.monotonic()
        return self._sleep(now, self._seconds_to_next(now))

    def _sleep(self, now: float, seconds: float) -> float:
        self._wakes_at = now + seconds
        wall = self.engine.clock.now()
        watching = self._watch is not None and self._watch.active
        self.next_due = None if watching else wall + int(max(0.0, self._whole_at - now) * 1_000_000)
        return self._wakes_at

    def _find_folder(self, now: float) -> None:
        """Makes sure that the folder is there, and watched if it can be. Raises OSError."""
        status = os.stat(self.folder)
        identity = (status.st_dev, status.st_ino)
        failed = self._watch is not None and bool(self._watch.trouble)
        if self._identity == identity and not (failed and now >= self._watch_again_at):
            return
        self._identity = identity
        self._watch_again_at = now + WATCH_AGAIN
        self._whole_at = now
        self._stop_watching()
        self._on_share = is_on_share(self.folder)
        how = self.engine.settings.watch
        if os.path.isdir(self.folder) and (how == "notify" or (how == "auto" and not self._on_share)):
            self._watch = self._watcher.add(self.folder, self._told)

    def _told(self, names: set[str] | None) -> None:
        with self._waking:
            if names is None:
                self._everything = True
            else:
                self._changed |= names
                self._look_in = min(self._look_in, LOOK_AFTER if names else LOOK_AGAIN)
            self._woken = True
            self._waking.notify_all()

    def _look_at_everything(self, now: float) -> None:
        files = scan(self.folder, self.spec.trigger.extensions)
        self._consider(files, now, whole=True)
        done = self.engine.clock.monotonic()
        self._took = done - now
        self._whole_at = done + max(self._interval, SHARE_OF_TIME * self._took)

    def _look_at_some(self, changed: set[str], now: float) -> None:
        """Looks at what was reported, at what is settling, and again at files that changed while they had a run."""
        names = changed | {path for path, each in self._settling.items() if self._look_due(each) <= now}
        last_event = self.engine.ledger.last_event
        if (self._busy or self._after_batch) and last_event != self._last_event:
            self._last_event = last_event
            names |= self._busy
            if self._after_batch and None not in ahead(self.spec, self.root, self.engine.ledger.reader):
                self._after_batch = False
                self._look_at_everything(now)
                return
        if not names:
            return
        files = scan_named(self.folder, names, self.spec.trigger.extensions)
        for name in names - files.keys():
            self._settling.pop(name, None)
            self._busy.discard(name)
        self._consider(files, now, whole=False)

    # -- what is due, and whether it is whole ------------------------------------------------------------------

    def _consider(self, files: dict[str, Signature], now: float, *, whole: bool) -> None:
        bad = unrecordable(files)
        for name in bad:
            del files[name]
        if whole:
            self._left_out = bad
        # Race: a start by hand may be about to queue the same files; and whoever stops the automation takes this lock.
        with self.engine.starting:
            if self.stopped:
                return
            sources = compare(self.spec, self.root, self.folder, files, self.engine.ledger.reader, whole=whole)
            self._note_settling(sources, now, whole=whole)
            if self.spec.trigger.run_as == "batch":
                self._start_batch(sources)
            else:
                self._start_each(sources)

    def _note_settling(self, sources: Sources, now: float, *, whole: bool) -> None:
        due = set(sources.due)
        gone = (self._settling.keys() if whole else sources.files.keys()) - due
        for path in gone:
            self._settling.pop(path, None)
        for path in due:
            signature = sources.files[path]
            known = self._settling.get(path)
            if known is None or known.signature != signature:
                self._settling[path] = _Settling(signature, now, now)
            elif self._look_due(known) <= now:
                known.looks += 1
                known.looked = now
        unseen: set[str] = set() if whole else self._busy - sources.files.keys()
        self._busy = unseen | {path for path in due if sources.ahead.get(path)}

    def _look_due(self, each: _Settling) -> float:
        """When the next look at a settling file counts."""
        settle = self.spec.trigger.settle or {}
        return max(each.looked + self._pace, each.since + settle.get("seconds", 0.0))

    @property
    def _pace(self) -> float:
        return min(self._interval, LOOK_AGAIN_ON_SHARE if self._on_share else LOOK_AGAIN)

    def _is_settled(self, each: _Settling) -> bool:
        settle = self.spec.trigger.settle or {"looks": 1}
        if "seconds" in settle:
            return each.looked - each.since >= settle["seconds"]
        return each.looks >= settle["looks"]

    def _start_each(self, sources: Sources) -> None:
        ready: list[str] = []
        for path in sources.due:
            if path in sources.ahead or self._is_settled(self._settling[path]):
                del self._settling[path]
                if path not in sources.ahead:
                    ready.append(path)
        for first in range(0, len(ready), RUNS_IN_ONE_COMMIT):
            if self.stopped:
                return
            self.engine.start_runs([self._request(path) for path in ready[first : first + RUNS_IN_ONE_COMMIT]])

    def _start_batch(self, sources: Sources) -> None:
        if None in sources.ahead:
            self._settling.clear()
            # What changes while the run waits is read by it; for what changes later, all is looked at after it.
            self._after_batch = self._after_batch or (sources.ahead[None] and bool(sources.due))
        elif self._settling and all(self._is_settled(each) for each in self._settling.values()):
            self._settling.clear()
            self.engine.start_runs([self._request(None)])

    def _request(self, path: str | None) -> RunRequest:
        spec = self.spec
        return RunRequest(
            spec.name, spec.group, self.digest, "file", self.params, source_root=self.root, source_path=path
        )

    # -- how it stands -----------------------------------------------------------------------------------------

    def _seconds_to_next(self, now: float) -> float:
        due = [self._whole_at, *(self._look_due(each) for each in self._settling.values())]
        if self._watch is not None:
            due.append(now + CHECK_FOLDER)
        if self._busy or self._after_batch:
            due.append(now + self._pace)
        return max(0.02, min(due) - now)

    def _say_how_it_stands(self) -> None:
        watch = self._watch
        trouble: list[str] = []
        if watch is not None and watch.trouble:
            trouble.append(f"{watch.trouble} So it is looked at every {self._interval:g} s.")
        if self._left_out:
            trouble.append(f"Names that are not valid UTF-8 are left out, such as {self._left_out[0]!r}.")
        self.note("watching" if watch is not None and watch.active else "polling", " ".join(trouble) or None)

    def _missing(self, now: float) -> float:
        self._lose_folder()
        self.note("missing", f"The source {self.folder} does not exist.")
        return self._try_again(now)

    def _unreadable(self, error: OSError, now: float) -> float:
        self._lose_folder()
        place = error.filename or self.folder
        self.note("unreadable", f"The source cannot be read: {error.strerror or error} ({place}).")
        return self._try_again(now)

    def _try_again(self, now: float) -> float:
        self._whole_at = now + (self._interval if self._on_share else min(self._interval, CHECK_FOLDER))
        return self._sleep(now, self._whole_at - now)

    def _lose_folder(self) -> None:
        self._identity = None
        self._settling.clear()
        self._stop_watching()

    def _stop_watching(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            self._watcher.remove(watch)

    def begin_anew(self) -> None:
        self._everything = True
        self._settling.clear()

    def leave(self) -> None:
        self._stop_watching()
