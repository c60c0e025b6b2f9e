"""What a person can set, in `$FLOWSTEAD_HOME/settings.toml`; each setting is explained in docs/settings.md."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

from flowstead.model.errors import UsageError

_CHOICES = {"durability": ("normal", "full"), "watch": ("auto", "poll", "notify")}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of this machine. Times are in seconds, sizes in MB (0: no limit)."""

    worker_slots: int = 0
    parallel_groups: tuple[str, ...] = ()
    durability: str = "normal"
    cancel_grace: float = 10.0
    handover_grace: float = 120.0
    resume_limit: int = 3
    worker_max_runs: int = 10_000
    worker_recycle_mb: int = 2048
    worker_memory_mb: int = 0
    describe_timeout: float = 10.0
    load_timeout: float = 60.0
    preview_memory_mb: int = 1024
    retention_days: int = 90
    retention_runs: int = 100_000
    watch: str = "auto"
    daemon_port: int = 0
    daemon_grace: float = 10.0
    daemon_log_mb: int = 10

    @property
    def slots(self) -> int:
        """How many workers may run at once in one workspace."""
        return self.worker_slots or max(2, os.cpu_count() or 2)

    @classmethod
    def load(cls, home: Path) -> Settings:
        """Reads `settings.toml` below `home`; without one, the defaults. Raises UsageError naming a bad entry."""
        path = home / "settings.toml"
        try:
            text = path.read_text("utf-8")
        except OSError:
            return cls()
        import tomllib

        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _bad(f"settings.toml is not valid TOML: {error}.", path) from error
        known = {field.name: field.default for field in fields(cls)}
        values: dict[str, object] = {}
        for name, value in given.items():
            if name not in known:
                import difflib

                near = difflib.get_close_matches(name, known, 1)
                raise _bad(f"settings.toml: there is no setting {name!r}.", path, near[0] if near else None)
            values[name] = _checked(name, value, known[name], path)
        return cls(**values)  # type: ignore[arg-type]


def _checked(name: str, value: object, default: object, path: Path) -> object:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            *most, last = (f'"{each}"' for each in _CHOICES[name])
            raise _bad(f"settings.toml: {name} is {', '.join(most)} or {last}, not {value!r}.", path)
        return value
    if isinstance(default, tuple):
        names = cast("list[object]", value) if isinstance(value, list) else [None]
        if not all(isinstance(each, str) for each in names):
            raise _bad(f"settings.toml: {name} is a list of names, not {value!r}.", path)
        return tuple(names)
    allowed = (int, float) if isinstance(default, float) else (int,)
    if isinstance(value, bool) or not isinstance(value, allowed) or not 0 <= value < 1e9:
        kind = "number" if isinstance(default, float) else "whole number"
        raise _bad(f"settings.toml: {name} is a {kind} of at least 0, not {value!r}.", path)
    return value


def _bad(message: str, path: Path, near: str | None = None) -> UsageError:
    hint = f"Did you mean {near}?" if near else "All settings are explained in docs/settings.md."
    return UsageError(message, code="settings-invalid", hint=hint, file=str(path))
