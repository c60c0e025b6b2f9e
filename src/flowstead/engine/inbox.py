"""Requests to the engine of a workspace from processes that are not it: small files, put atomically into a folder."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any


class Inbox:
    """The folder `folder` as a mailbox: any process may `put`, only the engine `take`s."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looked_at = -1

    def put(self, request: dict[str, Any]) -> None:
        """Leaves a request for whoever holds the workspace."""
        name = secrets.token_hex(8)
        beside = self._folder / f".{name}"
        beside.write_text(json.dumps(request), "utf-8")
        os.replace(beside, self._folder / f"{name}.json")

    def take(self) -> list[dict[str, Any]]:
        """The requests that came since; each is given once. What is no JSON object is dropped."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed == self._looked_at:
                return []
            files = sorted(self._folder.glob("*.json"))
        except OSError:
            return []
        requests: list[dict[str, Any]] = []
        for file in files:
            try:
                request = json.loads(file.read_text("utf-8"))
                file.unlink()
            except (OSError, ValueError):
                continue
            if isinstance(request, dict):
                requests.append(request)  # type: ignore[arg-type]
        # Race: a request that is put while we look may leave the folder's time as it is, for clocks of file systems
        # tick only every few milliseconds. So an empty look counts only once the folder has rested.
        rested = time.time_ns() - changed > 1_000_000_000
        self._looked_at = changed if rested and not files else -1
        return requests
