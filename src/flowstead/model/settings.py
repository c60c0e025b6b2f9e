"""What a person can set, in `$FLOWSTEAD_HOME/settings.toml` or by environment variables; see docs/settings.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

from flowstead.model.errors import UsageError

_CHOICES = {"durability": ("normal", "full"), "watch": ("auto", "poll", "notify")}
_MOST = {"pool_uv": 20, "pool_conda": 20}


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
    warm_workers: int = 4
    warm_memory_mb: int = 2048
    describe_timeout: float = 10.0
    load_timeout: float = 60.0
    preview_memory_mb: int = 1024
    retention_days: int = 90
    retention_runs: int = 100_000
    watch: str = "auto"
    environment_folder: str = ""
    environment_build_timeout: float = 900.0
    environment_days: int = 30
    environment_disk_mb: int = 20_000
    environment_grace: float = 3600.0
    pool_uv: int = 3
    pool_uv_packages: tuple[str, ...] = ()
    pool_conda: int = 3
    pool_conda_packages: tuple[str, ...] = ()
    pool_conda_channels: tuple[str, ...] = ("conda-forge",)
    daemon_port: int = 0
    daemon_grace: float = 10.0
    daemon_log_mb: int = 10

    @property
    def slots(self) -> int:
        """How many workers may run at once in one workspace."""
        return self.worker_slots or max(2, os.cpu_count() or 2)

    def environments_in(self, home: Path) -> Path:
        """The folder of environments, with that home folder."""
        return Path(self.environment_folder).expanduser() if self.environment_folder else home / "environments"

    @classmethod
    def load(cls, home: Path) -> Settings:
        """Reads `settings.toml` below `home`, then `FLOWSTEAD_<NAME>` of the environment; else the defaults.

        Raises UsageError naming a bad entry.
        """
        path = home / "settings.toml"
        values = {**cls.of_file(read_text(path), path), **cls.of_environment(path)}
        return cls(**values)  # type: ignore[arg-type]

    @classmethod
    def defaults(cls) -> dict[str, object]:
        """Every setting, by name."""
        return {field.name: field.default for field in fields(cls)}

    @classmethod
    def of_file(cls, text: str, path: Path) -> dict[str, object]:
        """What `text`, of the settings.toml at `path`, sets. Raises UsageError naming a bad entry."""
        return cls.check(parse(text, path), path)

    @classmethod
    def check(cls, entries: Mapping[str, object], path: Path) -> dict[str, object]:
        """Entries of the settings.toml at `path` as values of settings. Raises UsageError naming a bad one."""
        known = cls.defaults()
        values: dict[str, object] = {}
        for name, value in entries.items():
            if name not in known:
                import difflib

                near = difflib.get_close_matches(name, known, 1)
                raise _bad(f"settings.toml: there is no setting {name!r}.", path, near[0] if near else None)
            values[name] = _checked(name, value, known[name], path, f"settings.toml: {name}")
        return values

    @classmethod
    def of_environment(cls, path: Path) -> dict[str, object]:
        """What `FLOWSTEAD_<NAME>` of the environment sets. Raises UsageError naming a bad entry."""
        values: dict[str, object] = {}
        for name, default in cls.defaults().items():
            text = os.environ.get(variable := variable_of(name))
            if text is not None:
                values[name] = _checked(name, _from_text(text, default), default, path, variable)
        return values


def variable_of(name: str) -> str:
    """The environment variable that sets a setting before settings.toml does."""
    return f"FLOWSTEAD_{name.upper()}"


def choices_of(name: str) -> tuple[str, ...]:
    """What a setting may be, where these are few; empty for any other."""
    return _CHOICES.get(name, ())


def most_of(name: str) -> float:
    """The largest number that a setting may be."""
    return _MOST.get(name, 1e9)


def read_text(path: Path) -> str:
    """The text of settings.toml; empty where there is none. Raises UsageError where it is no text."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
    except UnicodeDecodeError as error:
        raise _bad(f"settings.toml is not UTF-8: {error.reason}.", path) from error


def parse(text: str, path: Path) -> dict[str, object]:
    """What a text says as TOML, whether there are such settings or not. Raises UsageError."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad(f"settings.toml is not valid TOML: {error}.", path) from error


def _from_text(text: str, default: object) -> object:
    """A value as an environment variable has it: numbers as they are, lists with commas between the names."""
    if isinstance(default, tuple):
        return [name.strip() for name in text.split(",") if name.strip()]
    if isinstance(default, str):
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _checked(name: str, value: object, default: object, path: Path, where: str) -> object:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            *most, last = (f'"{each}"' for each in _CHOICES[name])
            raise _bad(f"{where} is {', '.join(most)} or {last}, not {value!r}.", path)
        return value
    if isinstance(default, tuple):
        names = cast("list[object]", value) if isinstance(value, list) else [None]
        if not all(isinstance(each, str) for each in names):
            raise _bad(f"{where} is a list of names, not {value!r}.", path)
        return tuple(names)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise _bad(f"{where} is a text, not {value!r}.", path)
        return value
    allowed = (int, float) if isinstance(default, float) else (int,)
    most = most_of(name)
    if isinstance(value, bool) or not isinstance(value, allowed) or not 0 <= value <= most:
        kind = "number" if isinstance(default, float) else "whole number"
        limit = f"of at least 0 and at most {most}" if name in _MOST else "of at least 0"
        raise _bad(f"{where} is a {kind} {limit}, not {value!r}.", path)
    return value


def _bad(message: str, path: Path, near: str | None = None) -> UsageError:
    hint = f"Did you mean {near}?" if near else "All settings are explained in docs/settings.md."
    return UsageError(message, code="settings-invalid", hint=hint, file=str(path))
