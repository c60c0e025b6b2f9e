"""Files looked at through the routes, on a real workspace with real runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl

from flowstead.daemon.routes import find
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.run import ENDED

SECONDS = 60


class Looking:
    """The routes of one workspace, called as every transport calls them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = WorkspaceHost(root, command="test")

    def call(self, method: str, route_path: str, /, **fields: Any) -> Any:
        route, values = find(method, route_path)
        return route.handler(self.host, **values, **fields)

    def page(self, path: str | None = None, **fields: Any) -> Any:
        return self.call("POST", "/tables/page", **({} if path is None else {"path": path}), **fields)

    def statistics(self, path: str, **fields: Any) -> dict[str, Any]:
        """With the columns by name."""
        answer = self.call("POST", "/tables/statistics", path=path, **fields)
        return {**answer, "columns": {column["name"]: column for column in answer["columns"]}}

    def info(self, path: str, **fields: Any) -> dict[str, Any]:
        return self.call("GET", "/files/info", path=path, **fields)

    def content(self, path: str, **fields: Any) -> bytes:
        with self.call("GET", "/files/content", path=path, **fields).open() as file:
            return file.read()

    def export(self, **fields: Any) -> bytes:
        answer = self.call("POST", "/tables/export", **fields)
        assert answer.temporary and answer.path.exists()
        with answer.open() as file:
            data = file.read()
        answer.sent()
        assert not answer.path.exists()
        return data

    def sql(self, run_id: str, sql: str, **fields: Any) -> Any:
        return self.call("POST", f"/runs/{run_id}/sql", sql=sql, **fields)

    def run(self, flow: str, **fields: Any) -> str:
        """Runs a flow to its end and returns the id of the run, which must have succeeded."""
        (run_id,) = self.call("POST", f"/flows/{flow}/start", **fields)["started"]
        deadline = time.monotonic() + SECONDS
        engine = self.host.engine
        while True:
            seq = engine.ledger.last_event
            run = self.host.reader.run(run_id)
            # Race: the last lines of its log are written after the end is on record.
            if run.status in ENDED and run_id not in engine.dispatcher.active:
                assert run.status == "succeeded", run.error
                return run_id
            assert time.monotonic() < deadline, run.status
            engine.ledger.wait_for_event(seq, 0.05 if run.status in ENDED else 1.0)

    def close(self) -> None:
        self.host.close()


def values(answer: dict[str, Any], name: str) -> list[Any]:
    """A column of a page."""
    position = [column["name"] for column in answer["columns"]].index(name)
    return [row[position] for row in answer["rows"]]


def people() -> pl.DataFrame:
    """A little of everything that every format can hold."""
    return pl.DataFrame(
        {
            "name": ["Ada", "Bert", None, "Dora", "Emil"],
            "age": [36, 41, 28, None, 41],
            "height": [1.7, 1.82, None, 1.6, 1.75],
            "member": [True, False, True, None, False],
            "since": pl.Series(["2020-01-05", "2021-03-01", "2019-12-31", None, "2022-07-15"]).str.to_date(),
        }
    )
