"""Starts a flow and follows its runs to their end, as a process that can be killed.

Each line printed is JSON; the last one is the result.

python driver.py ROOT FLOW FIELDS
"""

import json
import sys
from pathlib import Path

from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.model.errors import EnvironmentPending, FlowsteadError

DONE = ("succeeded", "failed", "cancelled", "interrupted")


def main(root: str, flow: str, fields: str) -> None:
    waited: list[dict] = []

    def on_wait(holder: dict) -> None:
        waited.append(holder)
        print(json.dumps({"waiting_for": holder}), flush=True)

    given = json.loads(fields)
    wait, count = given.pop("wait", True), given.pop("count", 1)
    try:
        with Client(embedded(Path(root), command="driver", on_wait=on_wait if wait else None)) as client:
            try:
                started = client.start(flow, **given)
            except EnvironmentPending:
                list(client.prepare(flow))
                started = client.start(flow, **given, prepared=True)
            ids = started["started"] + started["resumed"] + started["waiting"]
            for _ in range(count - 1):
                ids += client.start(flow, **given, new=True)["started"]
            runs = client.runs_by_id(ids)
            for _ in client.events(after=started["after"]):
                runs = client.runs_by_id(ids)
                if all(run["status"] in DONE for run in runs):
                    break
            print(json.dumps({**started, "runs": runs, "waited_for": waited}), flush=True)
    except FlowsteadError as error:
        print(json.dumps({"error": error.as_dict(), "waited_for": waited}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
