"""The least that the same work could cost, for more than one group of rows; and how whole processes are timed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

LONGEST_PROCESS = 120.0

BARE_PYTHON = [sys.executable, "-c", "pass"]


def flowstead(*arguments: str) -> list[str]:
    """The command that a user types, as the script that was installed beside this interpreter."""
    script = Path(sys.executable).with_name("flowstead.exe" if sys.platform == "win32" else "flowstead")
    return [*([str(script)] if script.exists() else [sys.executable, "-m", "flowstead"]), *arguments]


def seconds(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> float:
    """How long a whole process takes, from its start to its end. Raises, with what it said, when it fails."""
    begun = time.perf_counter()
    ended = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_PROCESS
    )
    took = time.perf_counter() - begun
    if ended.returncode:
        said = (ended.stderr or ended.stdout).decode("utf-8", "replace").strip()
        raise RuntimeError(f"{command[0]} {command[1:]} ended with {ended.returncode}: {said[-1000:]}")
    return took


def seconds_of_rows(path: Path, rows: int, *, in_commit: int = 1, synchronous: str = "NORMAL") -> float:
    """How long a plain loop takes to insert `rows` rows into a new SQLite file in WAL mode, `in_commit` a commit."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE steps (number INTEGER PRIMARY KEY, run TEXT, status TEXT, finished INTEGER)")
        begun = time.perf_counter()
        for first in range(0, rows, in_commit):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO steps VALUES (?, ?, ?, ?)",
                [(number, "r_1", "succeeded", time.time_ns()) for number in range(first, min(rows, first + in_commit))],
            )
            connection.execute("COMMIT")
        return time.perf_counter() - begun
