"""What a surface can ask of a workspace. The transport decides where the answer comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol


class Transport(Protocol):
    """Carries a request to the routes and its answer back; coded errors are raised as FlowsteadError."""

    def request(self, method: str, path: str, fields: dict[str, Any]) -> Any: ...

    def stream(self, method: str, path: str, fields: dict[str, Any]) -> Iterator[dict[str, Any] | None]: ...

    def download(self, method: str, path: str, fields: dict[str, Any], target: BinaryIO) -> None: ...

    def upload(self, method: str, path: str, fields: dict[str, Any], source: BinaryIO) -> Any: ...

    def close(self) -> None: ...


class Client:
    """A workspace as a surface sees it; answers are the JSON of the routes of the same names. Use it with `with`.

    `outlived` says that what it starts goes on when it is closed: a daemon runs it.
    """

    def __init__(self, transport: Transport, *, outlived: bool = False) -> None:
        self._transport = transport
        self.outlived = outlived

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; an embedded engine interrupts what still runs."""
        self._transport.close()

    def overview(self) -> dict[str, Any]:
        """What the first page shows: `{counts, flows, needs_you, needs_total, automated, standing, after}`."""
        return self._transport.request("GET", "/overview", {})

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

    def environments(self) -> list[dict[str, Any]]:
        """What each flow runs in: `[{flow, file, why, provider, digest, error}]`."""
        return self._transport.request("GET", "/environments", {})["flows"]

    def environment(self, flow: str) -> dict[str, Any]:
        """What a flow runs in: `{file, why, considered, provider, requirements, digest, environment, ...}`."""
        return self._transport.request("GET", f"/flows/{flow}/environment", {})

    def prepare(self, flow: str, *, kernel: bool = False) -> Iterator[dict[str, Any] | None]:
        """Has a flow's environment built: `{"progress": {...}}`, None, at last `{"ready": {python, digest}}`.

        Raises FlowNotFound, ManifestInvalid, PythonMissing, BuildFailed.
        """
        return self._transport.stream("POST", f"/flows/{flow}/environment", {"kernel": kernel})

    def durations(self, flow: str) -> dict[str, Any]:
        """How long a flow and its steps took lately: `{runs, run, steps: [{index, name, label, took}]}`."""
        return self._transport.request("GET", f"/flows/{flow}/durations", {})

    def versions(self, flow: str) -> dict[str, Any]:
        """The versions of a flow, the newest first: `{versions: [{digest, current, first_run_at, runs}], ...}`."""
        return self._transport.request("GET", f"/flows/{flow}/versions", {})

    def version(self, flow: str, digest: str) -> dict[str, Any]:
        """The texts of a version as they were: `{texts: [{file, text, cut}]}`. Raises FlowNotFound."""
        return self._transport.request("GET", f"/flows/{flow}/versions/{digest}", {})

    def source_files(self, flow: str, **fields: Any) -> dict[str, Any]:
        """A page of a flow's source files and what became of each; fields are state, text, limit, cursor and again."""
        return self._transport.request("GET", f"/flows/{flow}/sources", fields)

    def doctor(self) -> list[dict[str, Any]]:
        """What is well and what is not on this machine and in this workspace: `[{name, status, message, hint}]`."""
        return self._transport.request("GET", "/doctor", {})["checks"]

    def standing(self) -> dict[str, Any]:
        """Who owns the workspace: `{state, message, owner, epoch, generation, gaps, request, engine, actions, ...}`."""
        return self._transport.request("GET", "/standing", {})

    def request_control(self) -> dict[str, Any]:
        """Asks the owner to hand the workspace over; returns how it stands. Raises TransitionRefused."""
        return self._transport.request("POST", "/request-control", {})

    def withdraw_request(self) -> dict[str, Any]:
        """Takes back what request_control asked for; returns how the workspace stands."""
        return self._transport.request("POST", "/withdraw-request", {})

    def release(self) -> dict[str, Any]:
        """Gives the workspace free once running work is done. Raises TransitionRefused when it is not ours."""
        return self._transport.request("POST", "/release", {})

    def take_over(self, *, force: bool = False) -> dict[str, Any]:
        """Takes the workspace from an owner that shows no sign of life; `force`: also past a damaged claim file.

        Raises WorkspaceOwned.
        """
        return self._transport.request("POST", "/takeover", {"force": force})

    def engine_status(self) -> dict[str, Any]:
        """What happens by itself: `{automated, trouble, active, queued, holder, flows: [{flow, state, ...}]}`."""
        return self._transport.request("GET", "/engine", {})

    def engine_start(self) -> dict[str, Any]:
        """Lets flows start by themselves; returns the status. Raises WorkspaceOwned, WorkspaceBusy."""
        return self._transport.request("POST", "/engine/start", {})

    def engine_stop(self) -> dict[str, Any]:
        """Lets nothing start by itself any more; returns the status. Raises TransitionRefused."""
        return self._transport.request("POST", "/engine/stop", {})

    def start(self, flow: str, **fields: Any) -> dict[str, Any]:
        """Starts a flow; fields are params, source, force, retry_failed, new, key and prepared.

        Returns `{started, resumed, waiting, source, files, failed_before, after}`; `after` is the number of the last
        event before it. Raises FlowNotFound, FlowBroken, ParameterError, UsageError, NotFound (the source),
        WorkspaceBusy, and EnvironmentPending: `prepare` the flow, then start it with prepared=True.
        """
        return self._transport.request("POST", f"/flows/{flow}/start", fields)

    def runs(
        self,
        *,
        flow: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: int | None = None,
        **filters: Any,
    ) -> dict[str, Any]:
        """A page `{runs, next}`, newest first, that may be short while `next` is not None.

        `status` is one or several with commas between; other filters are group, trigger, text, since and until. With
        count=True the page also has `total` and `total_exact`; with steps=False runs come without steps and artifacts.
        With a page's `cursor` and an offset any page of the same list is had at once.
        """
        fields = {"flow": flow, "status": status, "limit": limit, "cursor": cursor, **filters}
        return self._transport.request("GET", "/runs", fields)

    def runs_by_id(self, ids: list[str]) -> list[dict[str, Any]]:
        """The runs of these ids, oldest first."""
        return self._transport.request("POST", "/runs/by-id", {"ids": ids})["runs"]

    def run(self, run_id: str) -> dict[str, Any]:
        """One run, with its folder and the first failed items of its maps. Raises RunNotFound."""
        return self._transport.request("GET", f"/runs/{run_id}", {})

    def run_steps(self, run_id: str) -> dict[str, Any]:
        """Every attempt at every step, `{id, status, ..., steps: [{index, name, label, kind, attempts}]}`."""
        return self._transport.request("GET", f"/runs/{run_id}/steps", {})

    def run_items(self, run_id: str, step: int, **fields: Any) -> dict[str, Any]:
        """A page of a map's items, those that failed first; fields are status, limit and cursor."""
        return self._transport.request("GET", f"/runs/{run_id}/items", {"step": step, **fields})

    def run_error(self, run_id: str, *, around: int = 5) -> dict[str, Any]:
        """What went wrong, the author's own lines `around` it, and the steps from which the run can be retried."""
        return self._transport.request("GET", f"/runs/{run_id}/error", {"around": around})

    def run_neighbours(self, run_id: str) -> dict[str, Any]:
        """The runs of the same flow right before and after a run: `{previous: {id, status}, next}`."""
        return self._transport.request("GET", f"/runs/{run_id}/neighbours", {})

    def log(self, run_id: str, *, after: int = 0, follow: bool = False) -> Iterator[dict[str, Any] | None]:
        """Log lines; with `follow` until the run ends, None while nothing happens. Raises RunNotFound."""
        return self._transport.stream("GET", f"/runs/{run_id}/log", {"after": after, "follow": follow})

    def log_lines(self, run_id: str, *, start: int = 0, limit: int = 200) -> dict[str, Any]:
        """Lines by number, `{lines, start, end, total, exact}`; a negative `start` counts from the end."""
        return self._transport.request("GET", f"/runs/{run_id}/log/lines", {"start": start, "limit": limit})

    def search_log(self, run_id: str, **fields: Any) -> dict[str, Any]:
        """Lines that match, `{lines, looked_from, looked_to, next, total}`.

        Fields are step, level, text, start, backward and limit; go on from `next` until it is None.
        """
        return self._transport.request("GET", f"/runs/{run_id}/log/search", fields)

    def save_log(self, run_id: str, target: BinaryIO, *, format: str = "ndjson") -> None:
        """Writes the whole log to `target`, as `ndjson` or as `text`."""
        self._transport.download("GET", f"/runs/{run_id}/log/download", {"format": format}, target)

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Cancels; returns the run. Raises RunNotFound, TransitionRefused."""
        return self._transport.request("POST", f"/runs/{run_id}/cancel", {})

    def retry(self, run_id: str, *, from_step: str | None = None) -> dict[str, Any]:
        """Starts a new run from an ended one; returns as `start` does. Raises RunNotFound, TransitionRefused."""
        return self._transport.request("POST", f"/runs/{run_id}/retry", {"from_step": from_step})

    def cancel_runs(self, ids: list[str] | None = None, **filters: Any) -> dict[str, Any]:
        """Cancels many runs, by ids or by filters as in `runs`: `{results: [{id, outcome, started, error}], next}`."""
        return self._transport.request("POST", "/runs/cancel", {"ids": ids, **filters})

    def retry_runs(self, ids: list[str] | None = None, **filters: Any) -> dict[str, Any]:
        """Retries many runs, by ids or by filters as in `runs`; answers as cancel_runs does."""
        return self._transport.request("POST", "/runs/retry", {"ids": ids, **filters})

    def resume(self, run_id: str | None = None) -> dict[str, Any]:
        """Lets one interrupted run, or all of them, go on; returns as `start` does."""
        path = "/runs/resume" if run_id is None else f"/runs/{run_id}/resume"
        return self._transport.request("POST", path, {})

    def events(
        self, *, after: int | None = None, brief: bool = False, states: bool = False
    ) -> Iterator[dict[str, Any] | None]:
        """Changes in order, without end, None while nothing happens; see the route of this name."""
        return self._transport.stream("GET", "/events", {"after": after, "brief": brief, "states": states})

    def files(self, path: str = "", **fields: Any) -> dict[str, Any]:
        """A page of a folder, `{path, entries, next}`; fields are run_id, limit and cursor.

        Raises NotFound, and FlowsteadError (`path-outside`, `not-a-folder`).
        """
        return self._transport.request("GET", "/files", {"path": path, **fields})

    def file_info(self, path: str, *, run_id: str | None = None) -> dict[str, Any]:
        """What a file is; of a table also its columns and rows, or the `problem` with it."""
        return self._transport.request("GET", "/files/info", {"path": path, "run_id": run_id})

    def file_text(self, path: str, **fields: Any) -> dict[str, Any]:
        """A piece of a file as text, `{text, offset, next, size, encoding}`; fields are run_id, offset and limit."""
        return self._transport.request("GET", "/files/text", {"path": path, **fields})

    def save_file(self, path: str, target: BinaryIO, *, run_id: str | None = None) -> None:
        """Writes a file as it is to `target`."""
        self._transport.download("GET", "/files/content", {"path": path, "run_id": run_id}, target)

    def sources(self) -> dict[str, Any]:
        """What people edit: `{files, actions, refusal}`."""
        return self._transport.request("GET", "/sources", {})

    def source(self, path: str) -> dict[str, Any]:
        """One file to be edited, with its text or cells and the `tag` of this version. Raises NotFound, UsageError."""
        return self._transport.request("GET", "/sources/content", {"path": path})

    def check_source(self, path: str, **fields: Any) -> list[dict[str, Any]]:
        """What is wrong with a `text`, or `cells`, as typed; nothing of it is stored."""
        return self._transport.request("POST", "/sources/check", {"path": path, **fields})["diagnostics"]

    def write_source(self, path: str, tag: str, **fields: Any) -> dict[str, Any]:
        """Saves the `text` or `cells` of a file whose `tag` was read; returns the new tag and what is wrong with it.

        Raises TransitionRefused (`edit-conflict`, with the file as it is now), WorkspaceOwned.
        """
        return self._transport.request("POST", "/sources/write", {"path": path, "tag": tag, **fields})

    def create_source(self, path: str, **fields: Any) -> dict[str, Any]:
        """Makes a file, from a template unless `text` or `cells` are given. Raises TransitionRefused, UsageError."""
        return self._transport.request("POST", "/sources/create", {"path": path, **fields})

    def rename_source(self, path: str, to: str, tag: str) -> dict[str, Any]:
        """Gives a file another name. Raises TransitionRefused (`file-exists`, `flow-in-use`), UsageError."""
        return self._transport.request("POST", "/sources/rename", {"path": path, "to": to, "tag": tag})

    def delete_source(self, path: str, tag: str) -> None:
        """Deletes a file. Raises TransitionRefused (`edit-conflict`, `flow-in-use`)."""
        self._transport.request("POST", "/sources/delete", {"path": path, "tag": tag})

    def upload(self, flow: str, file: str, source: BinaryIO, *, replace: bool = False) -> dict[str, Any]:
        """Puts what `source` gives, as the file of that name, into the source folder of a flow: `{path, size, ...}`.

        Raises FlowNotFound, FlowBroken, UsageError, TransitionRefused (`file-exists`), WorkspaceOwned, StorageError.
        """
        return self._transport.upload("POST", f"/flows/{flow}/upload", {"file": file, "replace": replace}, source)

    def table_page(self, path: str | None = None, **fields: Any) -> dict[str, Any]:
        """Rows of a table: `{columns, columns_total, rows, offset, total, cut}`.

        It is a path, or a run's: fields run_id with artifact or step. Others are sheet, table, offset, limit, sort,
        filters, columns and view; see the route of this name.
        """
        return self._transport.request("POST", "/tables/page", {"path": path, **fields})

    def table_statistics(self, path: str | None = None, **fields: Any) -> dict[str, Any]:
        """What is in the columns of a table, which is named as in table_page; fields are columns, filters and view."""
        return self._transport.request("POST", "/tables/statistics", {"path": path, **fields})

    def export_table(self, target: BinaryIO, path: str | None = None, *, format: str, **fields: Any) -> None:
        """Writes a table, sorted and filtered as in table_page, to `target` as csv, xlsx or parquet."""
        self._transport.download("POST", "/tables/export", {"path": path, "format": format, **fields}, target)

    def table_sql(self, path: str, sql: str, **fields: Any) -> dict[str, Any]:
        """Rows of one SELECT over a table, called `data`: `{columns, rows, more, cut}`; fields as in table_page."""
        return self._transport.request("POST", "/tables/sql", {"path": path, "sql": sql, **fields})

    def run_tables(self, run_id: str) -> list[dict[str, Any]]:
        """The tables that SQL over a run can name: `[{name, artifact, step, path}]`. Raises RunNotFound."""
        return self._transport.request("GET", f"/runs/{run_id}/tables", {})["tables"]

    def sql(self, run_id: str, sql: str, **fields: Any) -> dict[str, Any]:
        """Rows of one SELECT over a run's tables: `{columns, rows, more, cut}`; fields are limit and view."""
        return self._transport.request("POST", f"/runs/{run_id}/sql", {"sql": sql, **fields})
