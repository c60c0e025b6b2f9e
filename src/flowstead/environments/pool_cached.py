"""What the pool copies from are environments of the cache, like those of flows."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.environments.declaration import Declaration, Progress, Provider, Requirement
from flowstead.model.errors import BuildFailed, EnvironmentUnusable

if TYPE_CHECKING:
    from flowstead.environments.cache import EnvironmentCache, Use
    from flowstead.environments.environment import Wanted
    from flowstead.model.settings import Settings

KERNEL = "ipykernel"


class CachedSupply:
    """A Supply of one provider. `open_cache` is called when the first environment is asked for."""

    def __init__(
        self,
        open_cache: Callable[[], EnvironmentCache],
        kind: Provider,
        *,
        target: int,
        off: str,
        packages: tuple[str, ...],
        channels: tuple[str, ...] = (),
    ) -> None:
        self.kind: Provider = kind
        self.target = target
        self.off = off
        self.packages = packages
        self._channels = channels
        self._open_cache = open_cache
        self._wanted: dict[str, Wanted] = {}
        self._use: Use | None = None

    def digest(self, *, base_only: bool) -> str:
        wanted = self._open_cache().resolve(self._declaration(base_only=base_only))
        self._wanted[wanted.digest] = wanted
        return wanted.digest

    def build(self, digest: str, *, again: bool, tell: Callable[[Progress], None]) -> None:
        cache = self._open_cache()
        build = cache.request(self._wanted[digest], again=again)
        build.listen(tell)
        build.wait(None)
        if build.error is not None:
            raise build.error
        if build.environment is None:
            raise BuildFailed("The build of the pool's template was stopped.")
        # What members are copied from is in use for as long as this process gives copies of it.
        use = cache.use(build.environment, "pool")
        self.close()
        self._use = use

    def template(self, digest: str) -> Path | None:
        try:
            environment = self._open_cache().ready(digest)
        except EnvironmentUnusable:
            return None
        return None if environment is None else environment.folder

    def clone(self, template: Path, target: Path) -> None:
        from flowstead.environments.cloning import clone

        clone(template, target)

    def close(self) -> None:
        """The template is no longer in use here."""
        if self._use is not None:
            self._use.close()
            self._use = None

    def _declaration(self, *, base_only: bool) -> Declaration:
        setting = f"pool_{self.kind}_packages"
        wanted = (KERNEL, *(() if base_only else self.packages))
        if self.kind == "conda":
            wanted = ("python", *wanted)
        return Declaration(
            provider=self.kind,
            file="settings.toml",
            why=f"The pool keeps environments with {KERNEL} and the packages of {setting} in settings.toml.",
            requirements=tuple(Requirement(text, f"settings.toml: {setting}") for text in wanted),
            channels=self._channels,
        )


def supplies_of(settings: Settings, open_cache: Callable[[], EnvironmentCache]) -> list[CachedSupply]:
    """One for each kind, as the settings have it."""
    off = {kind: f"pool_{kind} is 0 in the settings" for kind, number in _numbers(settings).items() if number == 0}
    if "conda" not in off and importlib.util.find_spec("rattler") is None:
        off["conda"] = "the extra flowstead[conda] is not installed"
    return [
        CachedSupply(
            open_cache,
            "uv",
            target=settings.pool_uv,
            off=off.get("uv", ""),
            packages=settings.pool_uv_packages,
        ),
        CachedSupply(
            open_cache,
            "conda",
            target=settings.pool_conda,
            off=off.get("conda", ""),
            packages=settings.pool_conda_packages,
            channels=settings.pool_conda_channels,
        ),
    ]


def _numbers(settings: Settings) -> dict[str, int]:
    return {"uv": settings.pool_uv, "conda": settings.pool_conda}
