"""A machine of its own: holds a workspace as a daemon does, with the home and the times it is given.

Reads requests from stdin, JSON a line, and prints the answer to each as one line of JSON.

python machine_driver.py ROOT '{"beat": 0.5, "deadline": 1.5, "stale": 2.5}'
"""

import json
import sys
from pathlib import Path

from flowstead.client import Client
from flowstead.daemon.embedded import EmbeddedTransport
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import FlowsteadError
from flowstead.workspace.ownership import Times


def main(root: str, times: str) -> None:
    host = WorkspaceHost(Path(root), command="machine", times=Times(**json.loads(times)))
    host.hold()
    client = Client(EmbeddedTransport(host))
    print(json.dumps({"ready": host.layout.key}), flush=True)
    for line in sys.stdin:
        method, fields = json.loads(line)
        try:
            answer = list(client.log(**fields)) if method == "log" else getattr(client, method)(**fields)
            print(json.dumps({"answer": answer}), flush=True)
        except FlowsteadError as error:
            print(json.dumps({"error": error.as_dict()}), flush=True)
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
