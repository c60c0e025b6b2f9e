"""What solves and installs conda packages, in a process of its own: `python -m flowstead.environments.conda_process`.

It is given a job as JSON on stdin, says how far it is in JSON lines on stdout, and as its last line how it ended:
`{"installed": n}`, or `{"failed": kind, "words": ..., ...}` with kind one of `spec` (with its `index`), `solver`,
`lock` and `install`. So a build can be ended at any moment, and no daemon imports rattler.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rattler import Channel, ChannelConfig, Config, MatchSpec, RepoDataRecord

_NEWS_EVERY = 0.1
"""Seconds between two lines about a download."""


class _Failed(Exception):
    """Ends the job: `kind` and what else the last line says."""

    def __init__(self, kind: str, words: str, **detail: Any) -> None:
        super().__init__(words)
        self.answer = {"failed": kind, "words": words.strip(), **detail}


def main() -> int:
    """Does the job that stdin holds; returns the exit code."""
    job = json.load(sys.stdin)
    try:
        _say(asyncio.run(_install(job)))
    except _Failed as failure:
        _say(failure.answer)
        return 1
    return 0


async def _install(job: dict[str, Any]) -> dict[str, Any]:
    from rattler import Config, MatchSpec, install

    _tell("resolving", "Reading the channels")
    try:
        config = Config.load_from_default_locations("rattler")
    except Exception as error:
        raise _Failed("install", f"rattler's own configuration cannot be read: {error}") from error
    specs: list[MatchSpec] = []
    for index, text in enumerate(job["specs"]):
        try:
            specs.append(MatchSpec(text))
        except Exception as error:
            raise _Failed("spec", str(error), index=index) from error
    records, pip = _locked(job, specs) if job.get("lock") else (None, None)
    if records is None or job["more"]:
        specs += [MatchSpec(text) for text in job["more"]]
        records = await _solved(job, specs, config, records or [])
    _tell("installing", f"Installing {len(records)} packages", 0, len(records))
    try:
        await install(
            records,
            job["prefix"],
            show_progress=False,
            reporter=_Reporter(),
            config=config,
        )
    except Exception as error:
        raise _Failed("install", str(error)) from error
    answer: dict[str, Any] = {"installed": len(records)}
    if pip is not None:
        answer["pip"] = pip
    return answer


async def _solved(
    job: dict[str, Any], specs: list[MatchSpec], config: Config, pinned: list[RepoDataRecord]
) -> list[RepoDataRecord]:
    """The packages that the solver chooses for the specs of a job; those that are `pinned` stay as they are."""
    from rattler import Gateway, Subdir, VirtualPackage, solve

    channels = _channels(job["channels"], specs, config.channel_config)
    try:
        return await solve(
            channels,
            specs,
            gateway=Gateway.from_config(config),
            platforms=[Subdir(job["platform"]), Subdir("noarch")],
            virtual_packages=VirtualPackage.detect(),
            constraints=job["constraints"],
            pinned_packages=pinned,
        )
    except Exception as error:
        raise _Failed("solver", str(error).removeprefix("Cannot solve the request because of: ")) from error


def _channels(names: list[str], specs: list[MatchSpec], config: ChannelConfig) -> list[Channel]:
    """The channels by their order, then those that only single specs name."""
    from rattler import Channel

    channels: dict[str, Channel] = {}
    try:
        for name in names:
            channel = Channel(name, config)
            channels.setdefault(channel.base_url, channel)
    except Exception as error:
        raise _Failed("solver", f"A channel cannot be understood: {error}") from error
    for spec in specs:
        if spec.channel is not None:
            channels.setdefault(spec.channel.base_url, spec.channel)
    return list(channels.values())


def _locked(job: dict[str, Any], specs: list[MatchSpec]) -> tuple[list[RepoDataRecord], list[dict[str, Any]]]:
    """The packages that a lock file has for this platform: conda's, and those that pip is to install as they are."""
    from rattler import CondaLockedBinaryPackage, LockFile, MatchSpec, PypiLockedPackage

    try:
        environment = LockFile.from_path(Path(job["lock"])).environment(job["environment"])
    except Exception as error:
        raise _Failed("lock", f"It cannot be read: {error}") from error
    if environment is None:
        raise _Failed("lock", f"It has no environment {job['environment']!r}.")
    platform = next((each for each in environment.platforms() if str(each.subdir) == job["platform"]), None)
    if platform is None:
        raise _Failed("lock", f"It has no packages for {job['platform']}.")
    records: list[RepoDataRecord] = []
    pip: list[dict[str, Any]] = []
    for package in environment.packages(platform) or []:
        if isinstance(package, CondaLockedBinaryPackage):
            records.append(package.repo_data_record())
        elif isinstance(package, PypiLockedPackage):
            try:
                digest = package.hashes.sha256 if package.hashes else None
            except AttributeError:
                digest = None  # py-rattler's object of hashes is there also where the hashes are not
            pip.append(
                {
                    "name": package.name,
                    "version": package.version,
                    "location": package.location,
                    "sha256": digest.hex() if digest else None,
                }
            )
        else:
            raise _Failed("lock", f"{package.name} is to be built from source, which is not done here.")
    for index, spec in enumerate([*specs, *map(MatchSpec, job["constraints"])]):
        mine = [each for each in records if each.name.normalized == spec.name.normalized]
        asked = index < len(specs)
        if (asked and not mine) or not all(spec.matches(each) for each in mine):
            raise _Failed("lock", f"It does not have {spec}.", **({"index": index} if asked else {}))
    return records, pip


class _Reporter:
    """Hears from the installer, and says how many packages are in place and how much is loaded."""

    def __init__(self) -> None:
        self._total = 0
        self._linked = 0
        self._names: dict[int, str] = {}
        self._loads: dict[int, str] = {}
        self._said = 0.0

    def on_transaction_start(self, total_operations: int) -> None:
        self._total = total_operations

    def on_transaction_operation_start(self, operation: int) -> None: ...

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        token = len(self._names)
        self._names[token] = package_name
        return token

    def on_validate_start(self, cache_entry: int) -> int:
        return cache_entry

    def on_validate_complete(self, validate_idx: int) -> None: ...

    def on_download_start(self, cache_entry: int) -> int:
        self._loads[cache_entry] = self._names.get(cache_entry, "")
        _tell("downloading", f"Downloading {self._loads[cache_entry]}")
        return cache_entry

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._said >= _NEWS_EVERY:
            self._said = now
            _tell("downloading", f"Downloading {self._loads.get(download_idx, '')}", progress, total)

    def on_download_completed(self, download_idx: int) -> None: ...

    def on_populate_cache_complete(self, cache_entry: int) -> None: ...

    def on_unlink_start(self, operation: int, package_name: str) -> int:
        return operation

    def on_unlink_complete(self, index: int) -> None: ...

    def on_link_start(self, operation: int, package_name: str) -> int:
        token = len(self._names)
        self._names[token] = package_name
        return token

    def on_link_complete(self, index: int) -> None:
        self._linked += 1
        _tell("installing", f"Installed {self._names.get(index, '')}", self._linked, self._total)

    def on_transaction_operation_complete(self, operation: int) -> None: ...

    def on_transaction_complete(self) -> None: ...

    def on_post_link_start(self, package_name: str, script_path: str) -> int:
        return 0

    def on_post_link_complete(self, index: int, success: bool) -> None: ...

    def on_pre_unlink_start(self, package_name: str, script_path: str) -> int:
        return 0

    def on_pre_unlink_complete(self, index: int, success: bool) -> None: ...


def _tell(phase: str, message: str, done: int | None = None, total: int | None = None) -> None:
    _say({"phase": phase, "message": message, "done": done, "total": total})


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
