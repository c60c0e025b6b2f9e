"""The same over every transport: tables, files with ranges, exports and errors."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from looking import people
from serving import Served, until

from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.model.errors import FlowsteadError, NotFound, UsageError

KEEPS = """
    import polars as pl
    from flowstead import Flow

    def build():
        return Flow("Keeps").step(keep)

    def keep(context):
        context.debug.save_frame(pl.DataFrame({"n": [1, 2, 3]}), "kept")
"""


@pytest.fixture(params=["embedded", "unix", "tcp"])
def client(request: Any, served: Served, workspace: Any, warm_readers: None) -> Iterator[Client]:
    people().write_parquet(workspace.root / "people.parquet")
    if request.param == "embedded":
        client = Client(embedded(workspace.root, command="test"))
    else:
        with served.machine_client(request.param) as machine:
            client = machine.client(machine.open(workspace.root)["workspace"])
    with client:
        yield client


def test_every_surface_sees_the_same(client: Client, workspace: Any, home: Path) -> None:
    workspace.file("notes/long.md", "# Notes\n" + "line\n" * 100_000)
    assert [entry["name"] for entry in client.files("notes")["entries"]] == ["long.md"]
    assert client.file_info("people.parquet")["rows"] == 5
    assert client.file_text("notes/long.md", limit=20)["text"] == "# Notes\nline\nline\n"
    page = client.table_page(
        "people.parquet", sort=[{"column": "age"}], filters=[{"column": "name", "op": "is-not-null"}], limit=2
    )
    assert [row[0] for row in page["rows"]] == ["Ada", "Bert"]
    (age,) = client.table_statistics("people.parquet", columns=["age"])["columns"]
    assert (age["count"], age["nulls"], age["min"]) == (4, 1, 28)
    target = io.BytesIO()
    client.save_file("notes/long.md", target)
    assert target.getvalue() == (workspace.root / "notes/long.md").read_bytes()
    target = io.BytesIO()
    client.export_table(target, "people.parquet", format="parquet", sort=[{"column": "age", "descending": True}])
    target.seek(0)
    assert pl.read_parquet(target)["age"].to_list() == [41, 41, 36, 28, None]
    # Race: what was exported goes when its last byte has been sent, which is a moment after it has arrived.
    until(lambda: not list((home / "exports").iterdir()), "what was exported is gone")


def test_runs_are_asked_in_sql(client: Client, workspace: Any) -> None:
    workspace.module("keeps", KEEPS)
    started = client.start("keeps")
    (run_id,) = started["started"]
    for _ in client.events(after=started["after"]):
        if client.run(run_id)["status"] == "succeeded":
            break
    assert [table["name"] for table in client.run_tables(run_id)] == ["kept"]
    assert client.sql(run_id, "SELECT sum(n) AS total FROM kept")["rows"] == [[6]]
    assert client.table_page(run_id=run_id, artifact="kept")["total"] == 3
    with pytest.raises(UsageError) as caught:
        client.sql(run_id, "DROP VIEW kept")
    assert caught.value.code == "sql-refused"


def test_what_is_wrong_is_told_alike(client: Client, workspace: Any) -> None:
    with pytest.raises(NotFound):
        client.file_info("none.csv")
    for path in ("/etc/passwd", "../x"):
        with pytest.raises(FlowsteadError) as caught:
            client.save_file(path, io.BytesIO())
        assert (caught.value.code, caught.value.exit_code) == ("path-outside", 2)
    with pytest.raises(FlowsteadError) as caught:
        client.table_page("people.parquet", columns=["agee"])
    assert caught.value.code == "column-not-found" and "age" in caught.value.hint
    with pytest.raises(FlowsteadError) as caught:
        client.export_table(io.BytesIO(), "people.parquet", format="pdf")
    assert caught.value.exit_code == 2


def test_a_browser_gets_parts_and_no_scripts(served: Served, workspace: Any) -> None:
    (workspace.root / "page.html").write_text("<script>alert(1)</script>")
    with served.machine_client() as machine:
        key = machine.open(workspace.root)["workspace"]
    address = f"/api/v1/workspaces/{key}/files/content?path=page.html"
    whole = served.get(address, **served.bearer)
    assert whole.body == b"<script>alert(1)</script>"
    assert whole.headers["content-security-policy"].startswith("sandbox;")
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = served.get(address, Range="bytes=8-12", **served.bearer)
    assert (part.status, part.body) == (206, b"alert")
    (workspace.root / "page.html").unlink()
    (workspace.root / "page.html").symlink_to("/etc/passwd")
    assert served.get(address, **served.bearer).code == "path-outside"
