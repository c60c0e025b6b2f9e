"""A process of its own that builds an environment: `cache_driver.py FOLDER WHEELS REQUIREMENT...`, lines on stdout.

`building` is said when the build has begun, then `ready ID` or `failed CODE`. With `--hold` it uses the environment,
says `using`, and waits for the end of its stdin.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wanting import wanted

from flowstead.environments.cache import EnvironmentCache
from flowstead.model.errors import FlowsteadError
from flowstead.model.settings import Settings


def main() -> None:
    folder, wheels, *requirements = sys.argv[1:]
    hold = "--hold" in requirements
    cache = EnvironmentCache(Path(folder), Settings())
    asked = wanted(*(each for each in requirements if each != "--hold"), wheels=Path(wheels))
    try:
        build = cache.request(asked)
    except FlowsteadError as error:
        print("failed", error.code, flush=True)
        return
    build.listen(lambda progress: print("progress", progress.phase, flush=True))
    print("building", flush=True)
    build.wait()
    if build.error is not None:
        print("failed", build.error.code, flush=True)
        return
    assert build.environment is not None
    print("ready", build.environment.id, flush=True)
    if hold:
        cache.use(build.environment, "test")
        print("using", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
