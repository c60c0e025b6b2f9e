"""What a provider of environments does: `uv.py` and `conda.py` each are one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flowstead.environments.declaration import Declaration, Interpreter, Package, Progress

Tell = Callable[[Progress], None]
"""Takes how far an installation is, as often as there is news."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A child process that ended by itself: `errors` is all it wrote to stderr, at most its last 64,000 characters."""

    returncode: int
    output: bytes
    errors: str


class Run(Protocol):
    """Runs one child process of a build, in a process group of its own, and waits for its end.

    `on_line` is called with each line of its stderr as it comes (without its end); `on_output` with each line of its
    stdout, which then is not in `output`. `env` replaces the whole environment of the process. Raises BuildFailed when
    the build's time is over or the build was stopped, and when the program cannot be started; its group has been killed
    by then. A returncode that is not 0 raises nothing.
    """

    def __call__(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_line: Callable[[str], None] | None = None,
        on_output: Callable[[str], None] | None = None,
    ) -> Finished: ...


class Provider(Protocol):
    """Makes environments of one kind. Its functions are called from threads, several at once."""

    def install(
        self,
        declaration: Declaration,
        interpreter: Interpreter | None,
        *,
        venv: Path,
        scratch: Path,
        tell: Tell,
        run: Run,
    ) -> None:
        """Makes the environment at `venv`, its final path, where nothing is yet: the declared packages, byte-compiled.

        `scratch` is an empty folder for whatever is needed in between. Anything that can hang or crash goes through
        `run`, so that a time limit and a stopped build end it. Whoever calls adds Flowstead's runtime, validates, and
        removes what was made when it fails. Raises BuildFailed with the installer's own words (see failing.failed).
        """
        ...

    def packages_of(self, venv: Path) -> list[Package]:
        """What is installed there, by name."""
        ...

    def python_of(self, venv: Path) -> Path:
        """Where the environment's interpreter is."""
        ...
