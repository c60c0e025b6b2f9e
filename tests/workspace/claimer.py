"""A process that does with ownership what it is told, line by line, and answers each line with one of JSON.

Arguments: a file with the time of the clock that counts time asleep; a seed and `links` or `no-links` for its file
operations to be slow by chance, or nothing. FLOWSTEAD_HOME says which machine it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hostile_os import HostileOs

from flowstead.model.errors import FlowsteadError
from flowstead.model.lock import ProcessLock
from flowstead.workspace import shared
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.ownership import Ownership

COMMANDS = {
    "claim": lambda ownership, _: ownership.claim("test", accepted=lambda: 0),
    "renew": lambda ownership, generation: ownership.renew(generation),
    "release": lambda ownership, generation: ownership.release(generation),
    "check": lambda ownership, _: ownership.check(),
    "look": lambda ownership, _: ownership.look().as_dict(),
}


def main(clock: Path, *hostile: str) -> None:
    if hostile:
        shared.os = HostileOs(int(hostile[0]), delay=0.002, links=hostile[1] == "links")
    ownership: Ownership | None = None
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        try:
            if command == "open":
                layout = WorkspaceLayout.of(Path(argument))
                layout.prepare()
                assert ProcessLock(layout.engine_lock).acquire("test")
                ownership = Ownership(layout, boottime=lambda: float(clock.read_text()))
                answer = ownership.machine.id
            else:
                assert ownership is not None
                answer = COMMANDS[command](ownership, int(argument or 0))
            print(json.dumps({"answer": answer}), flush=True)
        except FlowsteadError as error:
            print(json.dumps(error.as_dict()), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
