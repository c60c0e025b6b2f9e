"""One measurement in a process of its own, so that none leaves anything behind for the next.

That process is `python -m bench.measuring NAME FOLDER RUNS SIZES` (SIZES is `full` or `quick`); it prints the results
as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import (
    api,
    environments,
    files,
    looking,
    owning,
    pages,
    previews,
    publishing,
    reading,
    resident,
    starting,
    steps,
    waking,
)
from bench.rows import Measurement, Setting, failure

LONGEST_MEASUREMENT = 300.0
MEASUREMENTS = (
    *starting.MEASUREMENTS,
    *steps.MEASUREMENTS,
    *waking.MEASUREMENTS,
    *files.MEASUREMENTS,
    *reading.MEASUREMENTS,
    *looking.MEASUREMENTS,
    *publishing.MEASUREMENTS,
    *owning.MEASUREMENTS,
    *api.MEASUREMENTS,
    *previews.MEASUREMENTS,
    *pages.MEASUREMENTS,
    *environments.MEASUREMENTS,
    *resident.MEASUREMENTS,
)


def measure(measurement: Measurement, folder: Path, *, runs: int, quick: bool) -> list[dict[str, Any]]:
    """The results of all rows of `measurement`, taken in the empty `folder`; those that could not be taken say why."""
    command = [
        *(sys.executable, "-m", "bench.measuring"),
        *(measurement.name, str(folder), str(runs), "quick" if quick else "full"),
    ]
    try:
        ended = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_MEASUREMENT,
        )
    except subprocess.TimeoutExpired:
        return [failure(row, f"not measured within {LONGEST_MEASUREMENT:g} s") for row in measurement.rows]
    if ended.returncode:
        print(ended.stderr, end="", file=sys.stderr)
        last = ended.stderr.strip().rpartition("\n")[2] or f"ended with {ended.returncode}"
        return [failure(row, last) for row in measurement.rows]
    return json.loads(ended.stdout)


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment, without what would lead Flowstead elsewhere or slow every Python down."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "FLOWSTEAD_BENCH_DATA" or not name.startswith(("FLOWSTEAD_", "PYTHON"))
    }
    return {**environment, "FLOWSTEAD_HOME": str(folder / "home")}


def main() -> None:
    name, folder, runs, sizes = sys.argv[1:]
    (measurement,) = (each for each in MEASUREMENTS if each.name == name)
    os.umask(0o077)  # flows that others can write are not run unasked
    setting = Setting(Path(folder), quick=sizes == "quick")
    print(json.dumps(measurement.take(setting, int(runs))))


if __name__ == "__main__":
    main()
