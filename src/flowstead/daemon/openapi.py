"""The API's description, OpenAPI 3.1, made from the route tables, the shapes of answers, and recorded examples.

It is made when somebody asks for it: what it takes to import and to make is of no use to a daemon otherwise.
"""

from __future__ import annotations

import importlib.resources
import inspect
import json
import re
from typing import Any

from pydantic import ConfigDict, TypeAdapter, create_model

from flowstead.daemon.fields import signature_of
from flowstead.daemon.routes import Route, machine_routes, workspace_routes
from flowstead.daemon.shapes import (
    authoring,
    environments,
    errors,
    files,
    flow_details,
    flows,
    logs,
    machine,
    overview,
    pool,
    run_details,
    runs,
    settings,
)
from flowstead.version import __version__

ANSWERS: dict[str, Any] = {
    "change_settings": settings.MachineSettings,
    "list_settings": settings.MachineSettings,
    "guide_image": bytes,
    "show_guide": settings.GuideText,
    "list_guides": settings.Guides,
    "upload_file": authoring.Uploaded,
    "delete_source": authoring.DeletedSource,
    "rename_source": authoring.SavedSource,
    "create_source": authoring.SavedSource,
    "write_source": authoring.SavedSource,
    "check_source": authoring.Diagnostics,
    "read_source": authoring.SourceContent,
    "list_sources": authoring.SourceFiles,
    "check_flows": flows.CheckedFlows,
    "cancel_run": runs.Run,
    "close_workspace": machine.Closed,
    "collect_environments": environments.Collected,
    "kill_workspace": machine.Killed,
    "stop": machine.Stopping,
    "create_demo": machine.Workspace,
    "create_workspace": machine.Workspace,
    "diagnose": machine.Findings,
    "engine_status": machine.EngineStatus,
    "events": runs.Event,
    "export_table": bytes,
    "file_content": bytes,
    "file_info": files.FileInfo,
    "flush_pool": pool.PoolCleared,
    "hand_over_lease": pool.PoolMember,
    "health": machine.Health,
    "list_environments": environments.Environments,
    "list_flow_environments": environments.WantedEnvironments,
    "list_files": files.FilePage,
    "list_flows": flows.Flows,
    "list_run_tables": files.RunTables,
    "list_runs": runs.RunPage,
    "list_workspaces": machine.Workspaces,
    "open_workspace": machine.Workspace,
    "pin_environment": environments.Environment,
    "ping_pool": pool.PoolAlive,
    "prepare_environment": environments.Preparation,
    "preview_flow": flows.Preview,
    "read_log": runs.LogLine,
    "read_text": files.FileText,
    "remove_environment": environments.RemovedEnvironment,
    "release": machine.Standing,
    "request_control": machine.Standing,
    "resume_all": runs.Started,
    "resume_run": runs.Started,
    "retry_run": runs.Started,
    "return_to_pool": pool.PoolMember,
    "run_sql": files.SqlRows,
    "runs_by_id": runs.Runs,
    "show_environment": environments.FlowEnvironment,
    "show_flow": flows.FlowDetails,
    "show_one": environments.Environment,
    "show_pool": pool.PoolStatus,
    "show_run": runs.RunDetails,
    "show_standing": machine.Standing,
    "shut_down_pool": pool.PoolCleared,
    "start": runs.Started,
    "start_engine": machine.EngineStatus,
    "stop_engine": machine.EngineStatus,
    "table_page": files.TablePage,
    "table_sql": files.SqlRows,
    "table_statistics": files.TableStatistics,
    "take_from_pool": pool.PoolMember,
    "take_over": machine.Standing,
    "overview": overview.Overview,
    "download_log": bytes,
    "log_lines": logs.LogWindow,
    "search_log": logs.LogHits,
    "cancel_runs": runs.BatchResults,
    "retry_runs": runs.BatchResults,
    "run_error": run_details.RunError,
    "run_items": run_details.ItemPage,
    "run_neighbours": run_details.RunNeighbours,
    "run_steps": run_details.RunSteps,
    "flow_durations": flow_details.FlowDurations,
    "list_versions": flow_details.Versions,
    "show_version": flow_details.VersionTexts,
    "list_source_files": flow_details.SourcePage,
    "use_environment": environments.Environment,
    "withdraw_request": machine.Standing,
}
"""The shape of what each handler answers, or of each item that it streams; bytes for a file."""

TAGS = {
    "workspaces": "The workspaces of this machine.",
    "flows": "What there is to run, and starting it.",
    "runs": "What ran, and what may be done with it.",
    "events": "What changes, as it changes.",
    "files": "Files, and tables by the page.",
    "sources": "What people edit, and what is wrong with it.",
    "guides": "How to, as the project's guides tell it.",
    "settings": "What can be set on this machine.",
    "engine": "What starts by itself.",
    "environments": "What flows run in, as it is kept on this machine.",
    "pool": "Environments that are ready to be taken.",
    "daemon": "The daemon itself.",
}
_TAG_OF = {
    **dict.fromkeys(("doctor", "standing", "request-control", "withdraw-request", "release", "takeover"), "workspaces"),
    "check": "flows",
    "overview": "workspaces",
    "tables": "files",
    "health": "daemon",
}

ERRORS = {
    "BadRequest": (400, "The request itself is wrong.", "request-invalid", "The request lacks ids."),
    "Unauthorized": (401, "Neither token nor session.", "unauthorized", "This request brings neither the token ..."),
    "Forbidden": (403, "It comes from elsewhere, or the workspace is not trusted.", "origin-refused", "This ..."),
    "NotFound": (404, "There is no such thing.", "run-not-found", "There is no run r_0000."),
    "Conflict": (409, "Not now: it has ended, or another has it.", "transition-refused", "Run r_1 has ended."),
    "Failed": (422, "It was understood, and could not be done.", "flow-broken", "Flow x cannot run: ..."),
    "InternalError": (500, "Something of ours failed.", "internal-error", "Something went wrong within Flowstead."),
    "Overloaded": (503, "Too many streams are open.", "too-many-streams", "256 streams are open already."),
}
"""name -> status, what it means, and an example's code and message."""

_STREAM = """

The answer is a stream of server-sent events. Each `event: item` has one object of this schema as its `data`, and its
`seq`, if it has one, as `id`. `event: end` says that nothing follows; `event: failure` brings an Error. One that stops
without either was cut off: ask again with the last id as `after`, or as the header `Last-Event-ID`.
"""

Json = dict[str, Any]

_BYTES: Json = {"type": "string", "format": "binary"}


def describe() -> Json:
    """The whole document."""
    examples: Json = json.loads((importlib.resources.files("flowstead.daemon") / "examples.json").read_text("utf-8"))
    adapters: dict[str, TypeAdapter[Any]] = {"Error": TypeAdapter(errors.Error)}
    for route in (*machine_routes(), *workspace_routes()):
        name = route.handler.__name__
        if name in ANSWERS:
            adapters[f"answer {name}"] = TypeAdapter(ANSWERS[name])
        adapters[f"fields {name}"] = TypeAdapter(_fields_of(route))
    adapters["answer launch"] = TypeAdapter(machine.LaunchToken)
    schemas, named = TypeAdapter.json_schemas(
        [
            (key, "validation" if key.startswith("fields") else "serialization", adapter)
            for key, adapter in adapters.items()
        ],
        ref_template="#/components/schemas/{model}",
    )
    found = {key: schema for (key, _), schema in schemas.items()}
    definitions: dict[str, Json] = named.get("$defs", {})
    paths: dict[str, Json] = {}
    for prefix, routes in (("", machine_routes()), ("/workspaces/{workspace}", workspace_routes())):
        for route in routes:
            path = f"/api/v1{prefix}{route.path}"
            example = examples.get(f"{route.method} {prefix}{route.path}", {})
            fields = found[f"fields {route.handler.__name__}"]["$ref"].rpartition("/")[2]
            # Fields of a query are described one by one, and what has none takes none.
            taken = found[f"fields {route.handler.__name__}"]
            if route.method == "GET" or route.receives or not definitions[fields].get("properties"):
                taken = definitions.pop(fields)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, taken, found, example)
    _add_pages(paths, found["answer launch"], examples)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Flowstead",
            "version": __version__,
            "description": "Errors are `{code, message, hint, detail}`; lists page by cursor; times are UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This daemon."}],
        "security": [{"token": []}, {"session": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {name: _closed(schema) for name, schema in sorted(definitions.items())},
            "responses": {name: _error(*told) for name, told in ERRORS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "In the file `token` of the home."},
                "session": {"type": "apiKey", "in": "cookie", "name": "flowstead-ID", "description": "See /launch."},
            },
        },
    }


def _fields_of(route: Route) -> Any:
    name = "".join(part.title() for part in route.handler.__name__.split("_")) + "Fields"
    return create_model(name, __config__=ConfigDict(extra="forbid"), **signature_of(route)[1])


def _operation(route: Route, path: str, taken: Json, found: Json, example: Json) -> Json:
    handler = route.handler
    text = inspect.getdoc(handler) or ""
    summary, _, _ = text.partition(".")
    values, fields = signature_of(route)
    names = [*(["workspace"] if path.startswith("/api/v1/workspaces/{workspace}/") else []), *values]
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": _PATH_EXAMPLES[name]}
        for name in dict.fromkeys(names)
    ]
    operation: Json = {
        "tags": [_tag(route)],
        "summary": re.sub(r"\s+", " ", summary).strip() + ".",
        "description": text + (_STREAM if route.streams else ""),
        "operationId": handler.__name__,
        "parameters": parameters,
    }
    given: Json = example.get("request") or {}
    if route.method == "GET" or route.receives:
        for name, each in taken.get("properties", {}).items():
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in taken.get("required", ()),
                    "schema": _without_null(each),
                    **({"example": given[name]} if name in given else {}),
                }
            )
    elif fields:
        operation["requestBody"] = {
            "required": any(default is ... for _, default in fields.values()),
            "content": {"application/json": {"schema": taken, "example": given}},
        }
    if route.receives:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": _BYTES}}}
    operation["responses"] = {"200": _success(route, found, example)}
    for name, (status, *_) in ERRORS.items():
        if (name != "NotFound" or names) and (name != "Overloaded" or route.streams):
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    return operation


_PATH_EXAMPLES = {
    "workspace": "flights-9f1c2a7be011",
    "name": "daily_totals",
    "run_id": "r_019f7dd869bc7786b4dea09f5c0",
    "digest": "3f2a9c0d",
}


def _tag(route: Route) -> str:
    noun = route.path.strip("/").split("/")[0]
    return _TAG_OF.get(noun, noun)


def _success(route: Route, found: Json, example: Json) -> Json:
    name = route.handler.__name__
    schema: Json = found.get(f"answer {name}", {})
    if ANSWERS.get(name) is bytes:
        schema = {"type": "string", "format": "binary"}
        return {
            "description": "The file.",
            "content": {"application/octet-stream": {"schema": schema, "example": example.get("answer", "")}},
            "headers": {"Content-Disposition": {"schema": {"type": "string"}, "description": "Its name."}},
        }
    if route.streams:
        item = example.get("items", [{}])[-1]
        return {
            "description": "Items, one after the other.",
            "content": {"text/event-stream": {"schema": schema, "example": item}},
        }
    return {
        "description": "The answer.",
        "content": {"application/json": {"schema": schema, "example": example.get("answer")}},
    }


def _error(status: int, meaning: str, code: str, message: str) -> Json:
    example = {"code": code, "message": message, "hint": "", "detail": {}}
    return {
        "description": meaning,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}},
    }


def _closed(schema: Json) -> Json:
    """An object has the properties that are described, and no others."""
    if schema.get("type") == "object" and "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def _without_null(schema: Json) -> Json:
    """A query has no null: it leaves the parameter out."""
    kinds = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "title", "default")}
    default = {} if schema.get("default") is None else {"default": schema["default"]}
    return {**rest, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}), **default}


def _add_pages(paths: dict[str, Json], launch_token: Json, examples: Json) -> None:
    """What is no route of the tables: opening a browser, and this document."""
    refused = {
        str(ERRORS[name][0]): {"$ref": f"#/components/responses/{name}"}
        for name in ("BadRequest", "Unauthorized", "Forbidden", "InternalError")
    }
    example = examples.get("POST /launch-tokens", {}).get("answer")
    paths["/api/v1/launch-tokens"] = {
        "post": {
            "tags": ["daemon"],
            "summary": "A link that opens the console in a browser, once, within a minute.",
            "description": "Visit `path` with a browser within a minute. It works once.",
            "operationId": "new_launch_token",
            "parameters": [],
            "responses": {
                "200": {
                    "description": "The link.",
                    "content": {"application/json": {"schema": launch_token, "example": example}},
                },
                **refused,
            },
        }
    }
    paths["/api/v1/openapi.json"] = {
        "get": {
            "tags": ["daemon"],
            "summary": "This document.",
            "description": "This document, as OpenAPI 3.1.",
            "operationId": "openapi",
            "parameters": [],
            "responses": {
                "200": {
                    "description": "The document.",
                    "content": {"application/json": {"schema": {"type": "object"}, "example": {"openapi": "3.1.0"}}},
                },
                **refused,
            },
        }
    }
    token = {"name": "token", "in": "query", "required": True, "schema": {"type": "string"}, "example": "Zm9v"}
    paths["/launch"] = {
        "get": {
            "tags": ["daemon"],
            "summary": "Gives a browser its session.",
            "description": "Gives a browser its session cookie for a launch token, and leads it to the console.",
            "operationId": "launch",
            "security": [],
            "parameters": [token],
            "responses": {"303": {"description": "To the console, with the session's cookie."}, **refused},
        }
    }
    html = {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>..."}}
    paths["/"] = {
        "get": {
            "tags": ["daemon"],
            "summary": "The console.",
            "description": "The console's page.",
            "operationId": "console",
            "parameters": [],
            "responses": {"200": {"description": "The page.", "content": html}, **refused},
        }
    }


if __name__ == "__main__":
    print(json.dumps(describe()))
