"""Where the members of the pool come from, one supply for each kind, and what is done when there is trouble with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flowstead.environments.declaration import Progress
from flowstead.model.errors import FlowsteadError

SECONDS_OF_FIRST_PAUSE = 5.0
MOST_SECONDS_OF_PAUSE = 900.0


class Supply(Protocol):
    """Makes the environments of one kind. Called from many threads; what fails raises FlowsteadError."""

    @property
    def kind(self) -> str: ...

    @property
    def target(self) -> int:
        """How many are to be ready at any time."""
        ...

    @property
    def off(self) -> str:
        """Why there is no pool of this kind; empty when there is one."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """What the settings want in each, beside what a kernel needs."""
        ...

    def digest(self, *, base_only: bool) -> str:
        """Names what the template holds; `base_only` is the one without the packages of the settings."""
        ...

    def build(self, digest: str, *, again: bool, tell: Callable[[Progress], None]) -> None:
        """Returns when the template is ready; `again` tries what has failed before."""
        ...

    def template(self, digest: str) -> Path | None:
        """The template's environment; None when it is not ready (any more)."""
        ...

    def clone(self, template: Path, target: Path) -> None:
        """Makes a whole environment of its own at `target`."""
        ...


@dataclass(slots=True)
class Trouble:
    """How often something has failed in a row, and when it may be tried again."""

    failures: int = 0
    error: FlowsteadError | None = None
    retry_at: float = 0.0

    def failed(self, error: FlowsteadError, now: float, chance: float) -> None:
        """The pause doubles with each failure; `chance`, from 0 to 1, keeps many from trying at the same moment."""
        pause = SECONDS_OF_FIRST_PAUSE * 2.0 ** min(self.failures, 32)
        self.failures += 1
        self.error = error
        self.retry_at = now + min(pause * (0.75 + chance / 2), MOST_SECONDS_OF_PAUSE)

    def over(self) -> None:
        self.failures, self.error, self.retry_at = 0, None, 0.0


class Template:
    """What members are cloned of, as far as this process knows."""

    def __init__(self, *, base_only: bool) -> None:
        self.base_only = base_only
        self.digest: str | None = None
        self.ready = False
        self.building = False
        self.progress: Progress | None = None
        self.building_trouble = Trouble()
        self.cloning_trouble = Trouble()

    @property
    def error(self) -> FlowsteadError | None:
        return self.building_trouble.error or self.cloning_trouble.error

    @property
    def retry_at(self) -> float:
        return max(self.building_trouble.retry_at, self.cloning_trouble.retry_at)


def culprit(error: FlowsteadError, packages: Iterable[str]) -> str | None:
    """The package of these that an installer's message is about, as the settings spell it; None when it names none."""
    asked = str(error.detail.get("requirement", ""))
    said = " ".join((asked, error.message, *(str(value) for value in error.detail.values())))
    words = [_normal(word) for word in re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", said)]
    places = {
        words.index(name): package for package in packages if (name := _normal(_name_of(package))) and name in words
    }
    return places[min(places)] if places else None


def _name_of(requirement: str) -> str:
    found = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return found[1] if found else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).strip("-").lower()
