"""Being told by the operating system what changes below folders: one thread for all of them.

add → RustNotify → tell(names); what could not be told is asked for by tell(None)
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

MILLISECONDS_BETWEEN_LOOKS = 100
"""How often the thread looks whether something was reported, or whether it is to stop."""
MILLISECONDS_TO_GATHER = 400
"""For how long reports that keep coming are gathered before they are told."""

SECONDS_TO_GIVE_BACK = 0.2
"""What a failed attempt had taken of the system's limits is given back by another thread, a moment later."""

Tell = Callable[[set[str] | None], None]
"""Takes the relative posix paths of what changed, which need not be all: look at everything a while later.

None: look at everything now. The empty set: soon, for what was told in the last moment is lost.
"""


class Watch:
    """A folder that is to be watched; `tell` is called from the watcher's thread.

    `active` is None until the operating system has been asked, then whether it reports changes; `trouble` says why
    it does not.
    """

    def __init__(self, folder: Path, tell: Tell) -> None:
        self.folder = os.path.realpath(folder)
        self.tell = tell
        self.active: bool | None = None
        self.trouble = ""


class FolderWatcher:
    """Watches folders, each with all that is below it, until it is closed.

    Changes get lost: when the system's queue overflows, in a folder that is filled before it is watched too, and at the
    moment at which the binding hands out what it has gathered. None of that is reported.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._changed = threading.Event()
        self._watches: list[Watch] = []
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, folder: Path, tell: Tell) -> Watch:
        """Begins to watch `folder`. Once it is watched, or known not to be, `tell(None)` is called."""
        watch = Watch(folder, tell)
        with self._condition:
            self._watches.append(watch)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="watching", daemon=True)
                self._thread.start()
            self._wake()
        return watch

    def remove(self, watch: Watch) -> None:
        with self._condition:
            if watch in self._watches:
                self._watches.remove(watch)
            self._wake()

    def close(self) -> None:
        """Watches nothing any more; nobody is told anything after."""
        with self._condition:
            self._closed = True
            self._watches.clear()
            self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)

    def _wake(self) -> None:
        self._changed.set()
        self._condition.notify_all()

    def _work(self) -> None:
        notify: RustNotify | None = None
        watched: frozenset[str] = frozenset()
        while True:
            with self._condition:
                if self._closed:
                    break
                self._changed.clear()
                watches = list(self._watches)
            unasked = [watch for watch in watches if watch.active is None]
            wanted = frozenset(watch.folder for watch in watches if watch.active is not False)
            if unasked or wanted != watched:
                before, (notify, troubles) = notify, _notify(wanted)
                watched = wanted - troubles.keys()
                if before is not None:
                    before.close()  # the new one watches already
                for watch in watches:
                    before_active = watch.active
                    if before_active is not False:
                        watch.active = watch.folder in watched
                        watch.trouble = troubles.get(watch.folder, "")
                    if watch.active != before_active:
                        watch.tell(None)
            if notify is None:
                with self._condition:
                    self._condition.wait_for(self._changed.is_set)
                continue
            # No time-out, for at its end the binding would forget what came in at that moment.
            self._tell(watches, notify.watch(MILLISECONDS_TO_GATHER, MILLISECONDS_BETWEEN_LOOKS, 0, self._changed))
        if notify is not None:
            notify.close()

    def _tell(self, watches: list[Watch], changes: set[tuple[int, str]] | str) -> None:
        with self._condition:
            watches = [watch for watch in watches if watch in self._watches]
        if isinstance(changes, str):
            # It was woken, and has forgotten what it had gathered.
            for watch in watches:
                watch.tell(set())
            return
        for watch in watches:
            beginning = watch.folder.rstrip(os.sep) + os.sep
            names = {path[len(beginning) :] for _, path in changes if path.startswith(beginning)}
            if any(path == watch.folder for _, path in changes):
                watch.tell(None)
            elif names:
                watch.tell({name.replace(os.sep, "/") for name in names} if os.sep != "/" else names)


def _notify(folders: frozenset[str]) -> tuple[RustNotify | None, dict[str, str]]:
    """Watches the folders; those that cannot be watched are left out, with what kept them from it."""
    from watchfiles._rust_notify import RustNotify

    def watch(chosen: list[str]) -> RustNotify:
        # Not ignoring denied permissions: with that, the binding ignores every other failure too.
        return RustNotify(chosen, False, False, 300, True, False)

    if not folders:
        return None, {}
    troubles: dict[str, str] = {}
    try:
        return watch(sorted(folders)), {}
    except Exception as error:  # the binding has several kinds
        reason = trouble_of(error)
    good: list[str] = []
    for folder in [*sorted(folders), *sorted(folders)]:
        if folder in good:
            continue
        time.sleep(SECONDS_TO_GIVE_BACK)
        try:
            watch([folder]).close()
        except Exception as error:
            troubles[folder] = trouble_of(error)
        else:
            troubles.pop(folder, None)
            good.append(folder)
    time.sleep(SECONDS_TO_GIVE_BACK)
    try:
        return (watch(good) if good else None), troubles
    except Exception as error:
        reason = trouble_of(error) or reason
        return None, dict.fromkeys(folders, reason)


def trouble_of(error: Exception) -> str:
    """Why a folder is not watched, in a sentence."""
    text = str(error)
    if "limit" in text.lower() or "os error 28" in text.lower() or "os error 24" in text.lower():
        what = " (fs.inotify.max_user_watches)" if sys.platform == "linux" else ""
        return f"There are more folders than this system allows to watch{what}."
    return f"The system does not watch it: {text.rstrip('.')}."
