"""The API's description is complete, and true: what a real daemon answers is what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from serving import Served, items
from starlette.routing import Route

from flowstead.client.http import HttpTransport
from flowstead.daemon.failures import STATUSES

WORKSPACE = "/api/v1/workspaces/{workspace}"


@pytest.fixture
def document(served: Served) -> dict[str, Any]:
    answer = served.get("/api/v1/openapi.json", **served.bearer)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


class Contract:
    """Holds what is sent and answered against the description."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.used: set[str] = set()

    def valid(self, value: Any, schema: dict[str, Any], where: str) -> None:
        whole = {**schema, "components": self.document["components"]}
        problems = [
            f"{where}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
            for error in Draft202012Validator(whole).iter_errors(value)
        ]
        assert not problems, "\n".join(problems)

    def answer(self, method: str, path: str, value: Any, status: int = 200) -> None:
        operation = self.document["paths"][path][method.lower()]
        self.used.add(f"{method} {path}")
        response = operation["responses"][str(status)]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        ((_, content),) = response["content"].items()
        self.valid(value, content["schema"], f"{method} {path} {status}")


def test_every_route_is_described(served: Served, document: dict[str, Any]) -> None:
    routes = {
        (method, route.path)
        for route in served.app.api.routes
        if isinstance(route, Route) and not route.path.startswith("/assets/")
        for method in (route.methods or ()) - {"HEAD"}
    }
    assert {(method, path) for method, path, _ in operations(document)} == routes


def test_every_route_says_what_it_takes_and_gives_by_example(document: dict[str, Any]) -> None:
    contract = Contract(document)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"] and operation["description"], where
        assert set(operation["tags"]) <= tags, where
        in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), where
        for each in operation["parameters"]:
            if each["required"]:
                assert "example" in each, f"{where}: {each['name']}"
            if "example" in each:
                contract.valid(each["example"], each["schema"], f"{where}: {each['name']}")
        body = operation.get("requestBody")
        if body and "application/octet-stream" not in body["content"]:
            content = body["content"]["application/json"]
            contract.valid(content["example"], content["schema"], f"{where}: request")
            assert content["example"] or not body["required"], where
        responses = operation["responses"]
        assert {"400", "401", "403", "500"} <= responses.keys(), where
        assert "404" in responses or not in_path, where
        for status, response in responses.items():
            if status == "303":
                continue
            if "$ref" in response:
                response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
            for kind, content in response["content"].items():
                assert content["schema"], f"{where} {status} has no schema: add it to ANSWERS in openapi.py"
                assert content.get("example") is not None, f"{where} {status}: add an example to examples.json"
                contract.valid(content["example"], content["schema"], f"{where} {status} {kind}")


def test_the_document_is_sound_and_asks_nothing_of_the_network(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    text = str(document)
    assert not re.search(r"https?://", text), "no address but this daemon's own"
    for reference in set(re.findall(r"#/components/(\w+)/(\w+)", text)):
        assert reference[1] in document["components"][reference[0]], reference
    used = {name for kind, name in re.findall(r"#/components/(\w+)/(\w+)", text) if kind == "schemas"}
    for name, schema in document["components"]["schemas"].items():
        assert name in used, f"{name} is not used"
        assert not name.startswith("flowstead"), "two shapes of one name"
        Draft202012Validator.check_schema(schema)
        assert schema.get("type") != "object" or "properties" not in schema or not schema["additionalProperties"], name


def test_the_statuses_of_errors_are_described(document: dict[str, Any]) -> None:
    described = {int(status) for _, _, each in operations(document) for status in each["responses"]}
    assert {status for _, status in STATUSES} <= described


FLOWS = {
    "totals": """
        from flowstead import Flow

        DESCRIPTION = "Sums."

        def build():
            return (
                Flow("Reports", timeout="1h")
                .watch(mode="poll", source="../inbox", interval="5m", extensions=[".csv"], settle="2s")
                .step(read, save_as="rows")
                .map(count, use="rows", on_error="skip")
                .step(total, use="nowhere")
            )

        def read(context):
            print("reading")
            context.debug.save_json({"a": 1}, "seen")
            return [1, None]

        def count(item):
            return item + 1

        def total(context):
            return 1
    """,
    "asks": """
        from flowstead import Choice, Flow

        def build():
            return Flow("Asks").ask("day", int).ask("kind", Choice(["a", "b"]), default="a").step(first)

        def first(context):
            return 1 / (context.params["day"] - 1)
    """,
    "slow": """
        import time

        from flowstead import Flow

        def build():
            return Flow("Slow").step(first)

        def first(context):
            while True:
                context.check_cancelled()
                time.sleep(0.01)
    """,
    "broken": "def build(:\n",
}


@pytest.fixture
def transport(served: Served) -> Iterator[HttpTransport]:
    with served.transport("tcp") as transport:
        yield transport


def test_what_a_real_daemon_answers_is_what_it_says(
    served: Served, transport: HttpTransport, workspace: Any, document: dict[str, Any]
) -> None:
    contract = Contract(document)
    for name, source in FLOWS.items():
        workspace.module(name, source)
    workspace.file("inbox/a.csv", "city,count\nParis,3\nRome,\n")

    def ask(method: str, path: str, fields: dict[str, Any] | None = None, **values: str) -> Any:
        found = transport.request(method, path.format(**values).removeprefix("/api/v1"), fields or {})
        contract.answer(method, path, found)
        return found

    def stream(method: str, path: str, fields: dict[str, Any], last: Any = None, **values: str) -> list[Any]:
        found = []
        for item in items(transport.stream(method, path.format(**values).removeprefix("/api/v1"), fields)):
            contract.answer(method, path, item)
            found.append(item)
            if last is not None and last(item):
                break
        return found

    ask("GET", "/api/v1/health")
    key = ask("POST", "/api/v1/workspaces", {"path": str(workspace.root)})["workspace"]
    for name in ("create", "demo"):
        made = ask("POST", f"/api/v1/workspaces/{name}", {"path": str(workspace.root.parent / f"made-{name}" / "here")})
        ask("POST", "/api/v1/workspaces/{workspace}/close", workspace=made["workspace"])
    ask("GET", "/api/v1/workspaces")

    def here(method: str, path: str, fields: dict[str, Any] | None = None, **values: str) -> Any:
        return ask(method, WORKSPACE + path, fields, workspace=key, **values)

    def ended(run_id: str) -> Any:
        return lambda event: event["id"] == run_id and event["row"]["status"] in ("succeeded", "failed", "cancelled")

    def follow(started: dict[str, Any]) -> str:
        (run_id,) = (*started["started"], *started["resumed"])
        stream("GET", f"{WORKSPACE}/events", {"after": started["after"]}, ended(run_id), workspace=key)
        return run_id

    here("GET", "/flows")
    here("GET", "/check")
    totals = follow(here("POST", "/flows/{name}/start", {}, name="totals"))
    failed = follow(here("POST", "/flows/{name}/start", {"params": {"day": 1}}, name="asks"))
    follow(here("POST", "/runs/{run_id}/retry", {"from_step": "first"}, run_id=failed))
    slow = here("POST", "/flows/{name}/start", {}, name="slow")
    stream(
        "GET",
        f"{WORKSPACE}/events",
        {"after": slow["after"]},
        lambda event: event["kind"] == "step" and event["change"] == "running",
        workspace=key,
    )
    transport.request("POST", f"/workspaces/{key}/close", {})
    here("POST", "/runs/{run_id}/resume", {}, run_id=slow["started"][0])
    here("POST", "/runs/resume", {})
    here("POST", "/runs/{run_id}/cancel", {}, run_id=slow["started"][0])
    for name in FLOWS:
        here("GET", "/flows/{name}", {"runs": 3}, name=name)
    here("GET", "/runs", {"limit": 2})
    here("GET", "/runs", {"status": "failed,cancelled", "text": "r_", "count": True, "steps": False})
    here("POST", "/runs/cancel", {"ids": [failed, "r_absent"]})
    here("POST", "/runs/retry", {"ids": [failed, "r_absent"]})
    for run_id in (totals, failed, slow["started"][0]):
        details = here("GET", "/runs/{run_id}", run_id=run_id)
        stream("GET", f"{WORKSPACE}/runs/{{run_id}}/log", {}, workspace=key, run_id=run_id)
        here("GET", "/runs/{run_id}/steps", run_id=run_id)
        here("GET", "/runs/{run_id}/items", {"step": 1, "limit": 1}, run_id=run_id)
        here("GET", "/runs/{run_id}/error", run_id=run_id)
        here("GET", "/runs/{run_id}/neighbours", run_id=run_id)
    here("GET", "/overview")
    stream(
        "GET",
        f"{WORKSPACE}/events",
        {"after": slow["after"], "brief": True, "states": True},
        lambda event: event["kind"] == "step",
        workspace=key,
    )
    here("GET", "/flows/{name}/durations", name="totals")
    version = here("GET", "/flows/{name}/versions", name="totals")["versions"][0]["digest"]
    here("GET", "/flows/{name}/versions/{digest}", name="totals", digest=version)
    here("GET", "/flows/{name}/sources", {"limit": 1}, name="totals")
    here("GET", "/runs/{run_id}/log/lines", {"start": -5}, run_id=failed)
    here("GET", "/runs/{run_id}/log/search", {"level": "error"}, run_id=failed)
    here("GET", "/standing")
    here("GET", "/engine")
    here("POST", "/engine/start")
    here("POST", "/engine/stop")
    here("POST", "/release")
    assert [step["name"] for step in details["steps"]] == ["first"]
    here("POST", "/runs/by-id", {"ids": [totals, failed]})
    stream("POST", f"{WORKSPACE}/flows/{{name}}/preview", {"params": {"day": 2}}, workspace=key, name="asks")
    here("GET", "/doctor")
    here("GET", "/files", {"path": ""})
    for path in ("inbox/a.csv", "flow_modules/asks.py"):
        here("GET", "/files/info", {"path": path})
    here("GET", "/files/text", {"path": "inbox/a.csv"})
    here("POST", "/tables/page", {"path": "inbox/a.csv", "sort": [{"column": "count", "descending": True}]})
    here("POST", "/tables/statistics", {"path": "inbox/a.csv"})
    here("POST", "/tables/sql", {"path": "inbox/a.csv", "sql": "SELECT * FROM data"})
    tables = here("GET", "/runs/{run_id}/tables", run_id=totals)["tables"]
    if tables:
        here("POST", "/runs/{run_id}/sql", {"sql": f'SELECT * FROM "{tables[0]["name"]}"'}, run_id=totals)
    for path in ("request-control", "withdraw-request", "takeover"):
        answer = served.get(f"/api/v1/workspaces/{key}/{path}", method="POST", body=b"{}", **served.bearer)
        contract.answer("POST", f"{WORKSPACE}/{path}", answer.json, answer.status)
    content = served.get(
        f"/api/v1/workspaces/{key}/flows/totals/upload?file=b.csv", method="POST", body=b"city\n", **served.bearer
    )
    contract.answer("POST", f"{WORKSPACE}/flows/{{name}}/upload", content.json)
    here("GET", "/sources")
    path = "flow_modules/new.py"
    tag = here("POST", "/sources/create", {"path": path})["tag"]
    here("POST", "/sources/check", {"path": path, "text": "def build(:\n"})
    tag = here("POST", "/sources/write", {"path": path, "tag": tag, "text": "def build(:\n"})["tag"]
    here("POST", "/sources/rename", {"path": path, "to": "flow_modules/newer.py", "tag": tag})
    here("GET", "/sources/content", {"path": "flow_modules/newer.py"})
    here("POST", "/sources/delete", {"path": "flow_modules/newer.py", "tag": tag})
    content = served.get(f"/api/v1/workspaces/{key}/files/content?path=inbox/a.csv", **served.bearer)
    assert content.body.startswith(b"city,count") and content.headers["accept-ranges"] == "bytes"
    ask("GET", "/api/v1/pool")
    ask("GET", "/api/v1/pool/ping")
    ask("POST", "/api/v1/pool/flush", {"kind": "uv"})
    ask("POST", "/api/v1/pool/shutdown")
    # What is taken, returned and handed over is held against its shape in test_daemon_pool.py.
    for path, body in (
        ("take", b'{"kind": "uv", "pid": 1}'),
        ("return", b'{"path": "/"}'),
        ("lease", b'{"path": "/", "pid": 1}'),
    ):
        answer = served.get(f"/api/v1/pool/{path}", method="POST", body=body, **served.bearer)
        contract.answer("POST", f"/api/v1/pool/{path}", answer.json, answer.status)
    here("GET", "/flows/{name}/environment", name="totals")
    here("GET", "/environments")
    stream("POST", f"{WORKSPACE}/flows/{{name}}/environment", {}, workspace=key, name="totals")
    ask("GET", "/api/v1/guides")
    ask("GET", "/api/v1/guides/{name}", name="settings")
    tag = ask("GET", "/api/v1/settings")["tag"]
    ask("POST", "/api/v1/settings", {"tag": tag, "changes": {"worker_slots": 2}})
    ask("GET", "/api/v1/environments")
    ask("POST", "/api/v1/environments/collect", {"dry_run": True})
    body = b'{"pid": 1, "purpose": "kernel"}'
    for method, action in (("GET", ""), ("POST", "/pin"), ("POST", "/remove"), ("POST", "/use")):
        given = body if action == "/use" else b"{}"
        answer = served.get(f"/api/v1/environments/3f2a{action}", method=method, body=given, **served.bearer)
        contract.answer(method, f"/api/v1/environments/{{digest}}{action}", answer.json, answer.status)
    ask("POST", "/api/v1/launch-tokens")
    ask("POST", "/api/v1/workspaces/{workspace}/kill", workspace=key)
    here("GET", "/flows")  # opens it again
    ask("POST", "/api/v1/workspaces/{workspace}/close", workspace=key)
    served.machine.on_stop = lambda: None
    ask("POST", "/api/v1/daemon/stop")
    for status, method, path, body in (
        (404, "GET", f"{WORKSPACE}/runs/{{run_id}}", None),
        (400, "POST", f"{WORKSPACE}/runs/by-id", b"{}"),
        (422, "POST", f"{WORKSPACE}/flows/{{name}}/start", b"{}"),
    ):
        answer = served.get(
            path.format(workspace=key, run_id="r_absent", name="broken"), method=method, body=body, **served.bearer
        )
        assert answer.status == status
        contract.answer(method, path, answer.json, status)
    described = {f"{method} {path}" for method, path, operation in operations(document) if path.startswith("/api/v1/")}
    untried = {
        "GET /api/v1/openapi.json",
        f"GET {WORKSPACE}/files/content",  # bytes, tried above
        f"GET {WORKSPACE}/runs/{{run_id}}/log/download",
        "GET /api/v1/guides/images/{name}",  # bytes, tried in test_daemon_guides.py
        f"POST {WORKSPACE}/tables/export",
        f"POST {WORKSPACE}/runs/{{run_id}}/sql",
    }
    assert described - contract.used <= untried, "a route whose answers nobody has held against its shape"
