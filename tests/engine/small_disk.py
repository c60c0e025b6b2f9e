"""What happens on a disk that fills up, or cannot be written: run where FLOWSTEAD_HOME is a small disk of its own.

python small_disk.py ROOT SCENE, where SCENE is one of the functions below; prints one JSON object.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.model.errors import FlowsteadError

HOME = Path(os.environ["FLOWSTEAD_HOME"])
BALLAST = HOME / "ballast"


def fill() -> None:
    with BALLAST.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def follow(root: Path, flow: str) -> dict:
    """The run of `flow` at its end, or what stopped the engine; and what its ledger says by then."""
    try:
        with Client(embedded(root, command="small disk")) as client:
            started = client.start(flow)
            ids = started["started"] + started["resumed"] + started["waiting"]
            for _ in client.events(after=started["after"]):
                runs = client.runs_by_id(ids)
                if all(run["status"] in ("succeeded", "failed", "cancelled", "interrupted") for run in runs):
                    return {"run": runs[0], "log": [line["event"] for line in client.log(ids[0]) if line]}
    except FlowsteadError as error:
        return {"error": error.as_dict()}
    raise AssertionError("events ended")


def full_before(root: Path) -> dict:
    fill()
    full = follow(root, "fills")
    BALLAST.unlink()
    return {"full": full, "freed": follow(root, "sound")}


def full_during(root: Path) -> dict:
    """The flow itself fills the disk, in its second step."""
    full = follow(root, "fills")
    with Client(embedded(root, command="small disk")) as client:
        seen = client.runs()["runs"]
    BALLAST.unlink()
    return {"full": full, "seen": seen, "freed": follow(root, "fills")}


def read_only(root: Path) -> dict:
    first = follow(root, "sound")
    subprocess.run(["mount", "-o", "remount,ro", str(HOME)], check=True)
    refused = follow(root, "sound")
    subprocess.run(["mount", "-o", "remount,rw", str(HOME)], check=True)
    return {"first": first, "refused": refused, "again": follow(root, "sound")}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[2]](Path(sys.argv[1]))))
