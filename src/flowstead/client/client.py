"""What a surface can ask of a workspace. The transport decides where the answer comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol


class Transport(Protocol):
    """Carries a request to the routes and its answer back; coded errors are raised as FlowsteadError."""

    def request(self, method: str, path: str, fields: dict[str, Any]) -> Any: ...

    def stream(self, method: str, path: str, fields: dict[str, Any]) -> Iterator[dict[str, Any] | None]: ...

    def close(self) -> None: ...


class Client:
    """A workspace as a surface sees it; answers are the JSON of the routes of the same names. Use it with `with`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; an embedded engine interrupts what still runs."""
        self._transport.close()

    def flows(self, *, again: bool = False) -> list[dict[str, Any]]:
        """Every flow, by name; `again` looks anew at modules whose error is remembered."""
        return self._transport.request("GET", "/flows", {"again": again})["flows"]

    def flow(self, name: str, *, runs: int = 5) -> dict[str, Any]:
        """One flow with plan, text and its last `runs`. Raises FlowNotFound."""
        return self._transport.request("GET", f"/flows/{name}", {"runs": runs})

    def check(self, name: str | None = None) -> list[dict[str, Any]]:
        """One flow, or all, looked at anew, each with its `warnings` `[{code, message, line}]`. Raises FlowNotFound."""
        return self._transport.request("GET", "/check", {"name": name})["flows"]

    def preview(self, name: str, **fields: Any) -> Iterator[dict[str, Any] | None]:
        """Runs a flow up to a waypoint, recording nothing; fields are use, rows and params.

        Gives `{"output": text}` as the flow prints, None while nothing happens, at last `{"value": {...}}`. Raises
        FlowNotFound, FlowBroken, UsageError, and FlowsteadError with what went wrong in the flow.
        """
        return self._transport.stream("POST", f"/flows/{name}/preview", fields)

    def doctor(self) -> list[dict[str, Any]]:
        """What is well and what is not on this machine and in this workspace: `[{name, status, message, hint}]`."""
        return self._transport.request("GET", "/doctor", {})["checks"]

    def start(self, flow: str, **fields: Any) -> dict[str, Any]:
        """Starts a flow; fields are params, source, force, retry_failed, new and key.

        Returns `{started, resumed, waiting, source, files, failed_before, after}`; `after` is the number of the last
        event before it. Raises FlowNotFound, FlowBroken, ParameterError,
        UsageError, NotFound (the source) and WorkspaceBusy.
        """
        return self._transport.request("POST", f"/flows/{flow}/start", fields)

    def runs(
        self, *, flow: str | None = None, status: str | None = None, limit: int = 50, cursor: int | None = None
    ) -> dict[str, Any]:
        """A page `{runs, next}`, newest first."""
        fields = {"flow": flow, "status": status, "limit": limit, "cursor": cursor}
        return self._transport.request("GET", "/runs", fields)

    def runs_by_id(self, ids: list[str]) -> list[dict[str, Any]]:
        """The runs of these ids, oldest first."""
        return self._transport.request("POST", "/runs/by-id", {"ids": ids})["runs"]

    def run(self, run_id: str) -> dict[str, Any]:
        """One run, with its folder and the first failed items of its maps. Raises RunNotFound."""
        return self._transport.request("GET", f"/runs/{run_id}", {})

    def log(self, run_id: str, *, after: int = 0, follow: bool = False) -> Iterator[dict[str, Any] | None]:
        """Log lines; with `follow` until the run ends, None while nothing happens. Raises RunNotFound."""
        return self._transport.stream("GET", f"/runs/{run_id}/log", {"after": after, "follow": follow})

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Cancels; returns the run. Raises RunNotFound, TransitionRefused."""
        return self._transport.request("POST", f"/runs/{run_id}/cancel", {})

    def retry(self, run_id: str, *, from_step: str | None = None) -> dict[str, Any]:
        """Starts a new run from an ended one; returns as `start` does. Raises RunNotFound, TransitionRefused."""
        return self._transport.request("POST", f"/runs/{run_id}/retry", {"from_step": from_step})

    def resume(self, run_id: str | None = None) -> dict[str, Any]:
        """Lets one interrupted run, or all of them, go on; returns as `start` does."""
        path = "/runs/resume" if run_id is None else f"/runs/{run_id}/resume"
        return self._transport.request("POST", path, {})

    def events(self, *, after: int | None = None) -> Iterator[dict[str, Any] | None]:
        """Changes in order, without end, None while nothing happens; see the route of this name."""
        return self._transport.stream("GET", "/events", {"after": after})
