"""The operating system's file functions, slow by chance, on a share that loses replies or knows no links."""

from __future__ import annotations

import errno
import os
import random
import time
from typing import Any

SLOWED = {"listdir", "open", "write", "fsync", "close", "link", "fstat", "unlink", "replace", "stat"}


class HostileOs:
    """Stands for the module `os` in workspace.shared.

    Any call may take up to `delay` seconds before and after it is carried out. `links` is False where `link` is
    refused; else some of its replies are lost, and it says that the name is taken, by itself. `failures` maps names of
    functions to an error number with which they fail, without effect.
    """

    def __init__(self, seed: int = 0, *, delay: float = 0.0, links: bool = True) -> None:
        self.random = random.Random(seed)
        self.delay = delay
        self.links = links
        self.failures: dict[str, int] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)
        if name not in SLOWED:
            return function

        def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            self._wait()
            if name in self.failures:
                raise OSError(self.failures[name], os.strerror(self.failures[name]))
            if name == "link" and not self.links:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            answer = function(*args, **options)
            self._wait()
            if name == "link" and self.delay and self.random.random() < 0.3:
                raise self.random.choice(
                    [FileExistsError(errno.EEXIST, "File exists"), OSError(errno.EIO, "Input/output error")]
                )
            return answer

        return call

    def _wait(self) -> None:
        if self.delay and self.random.random() < 0.4:
            time.sleep(self.random.random() * self.delay)
