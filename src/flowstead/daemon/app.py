"""The routes as a web application, behind the door of security.py.

Every handler is called in a thread, with its fields checked against its annotations. A workspace's routes are below
`/api/v1/workspaces/{workspace}`, the machine's directly below `/api/v1`.
"""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Body, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, create_model
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowstead.daemon.console import asset, page
from flowstead.daemon.failures import class_of, internal_error, status_of
from flowstead.daemon.fields import signature_of
from flowstead.daemon.files.answers import FileAnswer
from flowstead.daemon.files.readers import READERS
from flowstead.daemon.machine import Machine
from flowstead.daemon.receiving import is_receiving, receive
from flowstead.daemon.routes import Route, machine_routes, workspace_routes
from flowstead.daemon.routes.route import Handler
from flowstead.daemon.security import HEADERS, Security, launch_token_of
from flowstead.daemon.sending import FileSending
from flowstead.daemon.streaming import Items, StreamAnswer, Streams
from flowstead.engine.lines import encode
from flowstead.model.errors import FlowsteadError, NotFound, StorageError, UsageError
from flowstead.model.home import home
from flowstead.model.settings import Settings
from flowstead.version import __version__

PREFIX = "/api/v1"
WORKSPACE_PREFIX = f"{PREFIX}/workspaces/{{workspace}}"
MOST_BODY_BYTES = 1 << 20
MOST_WORKSPACE_REQUESTS = 32
MOST_MACHINE_REQUESTS = 8

_log = logging.getLogger("flowstead.daemon")


def make_app(machine: Machine, security: Security) -> App:
    """The application that serves `machine` to those that `security` lets in."""
    streams = Streams()
    api = FastAPI(
        title="Flowstead",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        exception_handlers={
            FlowsteadError: _on_coded,
            RequestValidationError: _on_invalid,
            HTTPException: _on_http_error,
            Exception: _on_unexpected,
        },
    )
    of_machine = CapacityLimiter(MOST_MACHINE_REQUESTS)
    of_workspaces = CapacityLimiter(MOST_WORKSPACE_REQUESTS)
    for route in machine_routes():
        _add(api, PREFIX, route, streams, of_machine, machine=machine)
    for route in workspace_routes():
        _add(api, WORKSPACE_PREFIX, route, streams, of_workspaces, machine=machine, of_workspace=True)
    _add_launching(api, security)
    _add_description(api, of_machine)
    _add_console(api)
    return App(api, security, streams)


class App:
    """The door, then the application. `streams` are cut off by the server when it ends."""

    def __init__(self, api: FastAPI, security: Security, streams: Streams) -> None:
        self.api = api
        self.security = security
        self.streams = streams

    def close_streams(self) -> None:
        """Cuts off the streams that are open; readers notice that no end was told."""
        self.streams.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self.api
        try:
            if scope["type"] not in ("http", "websocket"):
                return
            if not scope.get("state", {}).get("own_user"):
                self.security.check(typing.cast("dict[str, Any]", scope))
            _refuse_control_characters(scope["path"])
        except FlowsteadError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            answer = error_answer(error)

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in _HEADERS if name not in named]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await answer(scope, _limited(scope, receive), send_with_headers)


_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


def _limited(scope: Scope, receive: Receive) -> Receive:
    """Reads a request's body as far as it may go; what raises then is answered by `_on_http_error`."""
    read = 0

    async def receive_some() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BODY_BYTES and not is_receiving(scope):
            raise HTTPException(413)
        return message

    return receive_some


def _refuse_control_characters(path: str) -> None:
    if not path.isprintable():
        raise UsageError("The address has characters that no name can have.", hint="Write names as they are listed.")


# -- routes ------------------------------------------------------------------------------------------------------


def _add(
    api: FastAPI,
    prefix: str,
    route: Route,
    streams: Streams,
    limiter: CapacityLimiter,
    *,
    machine: Machine,
    of_workspace: bool = False,
) -> None:
    values, fields = signature_of(route)
    name = "".join(part.title() for part in route.handler.__name__.strip("_").split("_")) + "Fields"
    Fields = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)  # noqa: N806 - a type
    resumes = route.streams and "after" in fields

    def call(path_values: dict[str, str], given: BaseModel) -> Any:
        """In a thread: the handler's answer."""
        named = {name: getattr(given, name) for name in given.model_fields_set}
        if not of_workspace:
            return route.handler(machine, **path_values, **named)
        return route.handler(machine.host(path_values.pop("workspace")), **path_values, **named)

    def begin(path_values: dict[str, str], given: BaseModel) -> tuple[int | None, Items]:
        """In a stream's thread: what the handler yields, and the number it begins after."""
        named = {name: getattr(given, name) for name in given.model_fields_set}
        host = machine.host(path_values.pop("workspace"))
        after: int | None = None
        if resumes:
            after = getattr(given, "after")  # noqa: B009 - a field that not every model has
            named["after"] = after = host.reader.last_event() if after is None else after
        return after, _watched(machine, host, route.handler(host, **path_values, **named))

    async def answer(request: Request, given: BaseModel, path_values: dict[str, str]) -> Response:
        if not route.streams:
            try:
                if route.receives:
                    return _json(await receive(request, lambda: call(path_values, given), limiter))
                found = await anyio.to_thread.run_sync(call, path_values, given, limiter=limiter)
                if isinstance(found, FileAnswer):
                    opened = await anyio.to_thread.run_sync(found.open, limiter=limiter)
                    return FileSending(found, opened, limiter)
                return _json(found)
            except FlowsteadError:
                raise
            except Exception as error:
                return await _on_unexpected(request, error)
        if resumes:
            given = _from_last_seen(request, given)
        stream = streams.open(lambda: begin(path_values, given))
        try:
            await stream.first()
        except BaseException:
            stream.close()
            raise
        return StreamAnswer(stream)

    named = [*(["workspace"] if of_workspace else []), *values]
    endpoint = _endpoint(answer, Fields, named, in_query=route.method == "GET" or route.receives)
    endpoint.__name__ = route.handler.__name__
    endpoint.__doc__ = route.handler.__doc__
    api.add_api_route(f"{prefix}{route.path}", endpoint, methods=[route.method], response_model=None)


def _endpoint(
    answer: Callable[[Request, Any, dict[str, str]], Awaitable[Response]],
    fields: type[BaseModel],
    values: list[str],
    *,
    in_query: bool,
) -> Handler:
    """The function that FastAPI calls; what it takes is told by its signature."""

    async def endpoint(request: Request, fields: Any, **path_values: str) -> Response:
        return await answer(request, fields, path_values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    if in_query:
        taken: Any = typing.Annotated[fields, Query()]
        default: Any = inspect.Parameter.empty
    else:
        taken = typing.Annotated[fields, Body()]
        required = any(field.is_required() for field in fields.model_fields.values())
        default = inspect.Parameter.empty if required else fields()
    endpoint.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("request", keyword, annotation=Request),
            inspect.Parameter("fields", keyword, annotation=taken, default=default),
            *(inspect.Parameter(name, keyword, annotation=typing.Annotated[str, Path()]) for name in values),
        ]
    )
    endpoint.__annotations__ = {}
    return endpoint


def _from_last_seen(request: Request, given: BaseModel) -> BaseModel:
    """A browser that connects again says what it saw last in a header of its own."""
    seen = request.headers.get("last-event-id", "")
    return given.model_copy(update={"after": int(seen)}) if seen.isdecimal() and len(seen) < 19 else given


def _watched(machine: Machine, host: Any, items: Items) -> Iterator[dict[str, Any] | None]:
    """A stream keeps its workspace open; one whose workspace was closed all the same is cut off."""
    try:
        for item in items:
            host.touch()
            if item is None and host not in machine.hosts:
                raise NotFound("The workspace was closed.", code="workspace-not-open", hint="Open it again.")
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(content), status, media_type="application/json", headers=dict(headers or {}))


# -- opening a browser -------------------------------------------------------------------------------------------


def _add_launching(api: FastAPI, security: Security) -> None:
    async def new_launch_token() -> Response:
        """A token that opens the console in a browser, once, within a minute: visit `/launch?token=...`."""
        token = security.new_launch_token()
        return _json({"token": token, "path": f"/launch?token={token}", "seconds": 60})

    async def launch(request: Request) -> Response:
        """Gives a browser its session for a launch token, and leads it to the console."""
        session = security.redeem(launch_token_of(typing.cast("dict[str, Any]", request.scope)))
        return Response(status_code=303, headers={"location": "/", "set-cookie": security.cookie(session)})

    api.add_api_route(f"{PREFIX}/launch-tokens", new_launch_token, methods=["POST"], response_model=None)
    api.add_api_route("/launch", launch, methods=["GET"], response_model=None)


def _add_console(api: FastAPI) -> None:
    async def console() -> Response:
        """The console's page; the answer to all other addresses, too, that a browser is led to."""
        return page()

    async def console_file(request: Request) -> Response:
        """A file that the console's page loads."""
        return asset(request)

    api.add_api_route("/", console, methods=["GET"], response_model=None)
    api.add_api_route("/assets/{name}", console_file, methods=["GET"], response_model=None)


def _add_description(api: FastAPI, limiter: CapacityLimiter) -> None:
    made: list[bytes] = []

    def make() -> bytes:
        from flowstead.daemon.openapi import describe

        return encode(describe())

    async def openapi() -> Response:
        """The description of this API, as OpenAPI."""
        if not made:
            made.append(await anyio.to_thread.run_sync(make, limiter=limiter))
        return Response(made[0], media_type="application/json")

    api.add_api_route(f"{PREFIX}/openapi.json", openapi, methods=["GET"], response_model=None)


# -- errors ------------------------------------------------------------------------------------------------------


def error_answer(error: FlowsteadError) -> Response:
    """`{code, message, hint, detail}` with the status of its class."""
    return _json(error.as_dict(), status_of(error), {"flowstead-error": class_of(error)})


async def _on_coded(request: Request, error: Exception) -> Response:
    assert isinstance(error, FlowsteadError)
    if error.code == "internal-error" or isinstance(error, StorageError):
        _log.error("%s %s: %s", request.method, request.url.path, error.message, exc_info=error)
    return error_answer(error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_answer(_invalid(error))


def _invalid(error: RequestValidationError) -> UsageError:
    """One sentence about the first thing that is wrong, all of them in `detail`."""
    problems = [(_field(each), str(each["msg"])) for each in error.errors()]
    field, message = problems[0]
    sentence = {
        "Field required": f"The request lacks {field}.",
        "Extra inputs are not permitted": f"There is no {field} in this request.",
        "JSON decode error": "The body of this request is not JSON.",
    }.get(message, f"In this request, {field} is not valid: {message[:1].lower()}{message[1:].rstrip('.')}.")
    return UsageError(
        sentence,
        code="request-invalid",
        hint="The fields of every request are in /api/v1/openapi.json.",
        fields=[{"field": field, "message": message} for field, message in problems],
    )


def _field(problem: Mapping[str, Any]) -> str:
    place = [str(each) for each in problem["loc"]]
    return ".".join(place[1:]) or "the body"


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404 and _is_navigation(request):
        if request.url.path.endswith("/data"):
            # It asks for tables as soon as it is loaded: what reads them starts meanwhile.
            await anyio.to_thread.run_sync(lambda: READERS.warm(Settings.load(home()).preview_memory_mb))
        return page()
    where = f"{request.method} {request.url.path}"
    sentences = {
        404: ("route-not-found", f"There is no {where}."),
        405: ("method-not-allowed", f"There is no {where}; the address exists for another method."),
        413: ("request-too-large", f"The request is larger than {MOST_BODY_BYTES:,} bytes."),
    }
    code, message = sentences.get(error.status_code, ("request-refused", f"{error.detail}."))
    content = {"code": code, "message": message, "hint": "All requests are in /api/v1/openapi.json.", "detail": {}}
    return _json(content, error.status_code, error.headers)


def _is_navigation(request: Request) -> bool:
    """Whether a browser is led here by an address of the console, such as a bookmark."""
    wanted = request.headers.get("accept", "")
    return request.method == "GET" and "text/html" in wanted and not request.url.path.startswith(("/api", "/assets"))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
    return error_answer(internal_error())
