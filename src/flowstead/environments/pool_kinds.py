"""What the pool knows of each kind of environments, and how that is told."""

from __future__ import annotations

from dataclasses import dataclass

from flowstead.environments.pool_rows import Member
from flowstead.environments.pool_supply import Supply, Template, culprit
from flowstead.model.errors import FlowsteadError


@dataclass(frozen=True, slots=True)
class KindStatus:
    """How the pool of one kind stands. `off` says why there is none, `error` what is wrong with its template, and
    `package` which package that is about; `base_only` tells that members are made without those of the settings."""

    kind: str
    target: int
    off: str
    ready: int
    warming: int
    lent: int
    base_only: bool
    packages: tuple[str, ...]
    digest: str | None
    progress: str | None
    error: FlowsteadError | None
    package: str | None
    retry_in: float | None

    @property
    def deficit(self) -> int:
        return max(0, self.target - self.ready - self.warming)


class Kind:
    """What this process knows of a kind."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        self.full = Template(base_only=False)
        self.base = Template(base_only=True) if supply.packages else None
        self.stopped = False
        self.cloning = 0
        """How many members are being made for the pool at this moment."""
        self.waiting = 0
        """How many takes wait for one of those."""

    @property
    def target(self) -> int:
        return 0 if self.off else self.supply.target

    @property
    def off(self) -> str:
        if self.supply.off:
            return self.supply.off
        return "it was shut down" if self.stopped else ""

    @property
    def serving(self) -> Template | None:
        """What is cloned now: the template without the packages of the settings only where there is no other."""
        if self.full.ready:
            return self.full
        if self.base is not None and self.base.ready and self.full.building_trouble.error is not None:
            return self.base
        return None

    @property
    def wanted(self) -> list[str]:
        """The digests of members that are kept. Those without the settings' packages may still be needed as long as
        the others cannot be made."""
        templates = [self.full] if self.full.ready or self.base is None else [self.full, self.base]
        return [each.digest for each in templates if each.digest is not None]

    @property
    def served(self) -> list[str]:
        """The digests of members that are given out."""
        failed = self.full.building_trouble.error is not None
        return self.wanted if failed else self.wanted[:1]


def status_of(known: Kind, everyone: list[Member], now: float) -> KindStatus:
    """How a kind stands, of whose members and others these are all; `now` is the pool's clock."""
    states = [each.state for each in everyone if each.kind == known.supply.kind]
    templates = [each for each in (known.full, known.base) if each is not None]
    troubled = next((each for each in templates if each.error is not None), None)
    error = None if troubled is None or known.off else troubled.error
    serving = known.serving
    progress = next((each.progress for each in templates if each.progress is not None), None)
    retry_in = None
    if troubled is not None and not troubled.building and not known.off:
        retry_in = max(0.0, troubled.retry_at - now)
    return KindStatus(
        kind=known.supply.kind,
        target=known.target,
        off=known.off,
        ready=states.count("ready"),
        warming=states.count("warming"),
        lent=sum(states.count(each) for each in ("lent", "lending", "returning")),
        base_only=serving is not None and serving.base_only,
        packages=known.supply.packages,
        digest=None if serving is None else serving.digest,
        progress=None if progress is None else progress.message,
        error=error,
        package=None if error is None else culprit(error, known.supply.packages),
        retry_in=retry_in,
    )
