"""A process of its own that collects at once, again and again: `collecting_driver.py FOLDER TIMES`."""

from __future__ import annotations

import sys
from pathlib import Path

from flowstead.environments.cache import EnvironmentCache
from flowstead.model.run import now_us
from flowstead.model.settings import Settings


def main() -> None:
    settings = Settings(environment_grace=0.0, environment_days=1)
    cache = EnvironmentCache(Path(sys.argv[1]), settings)
    freed = 0
    for _ in range(int(sys.argv[2])):
        freed += len(cache.collect(now_us() + 2 * 86_400_000_000))
    print(freed)


if __name__ == "__main__":
    main()
