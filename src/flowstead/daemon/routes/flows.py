"""Requests about flows: what there is, whether it is sound, and starting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowstead.catalog import CatalogEntry
from flowstead.daemon.checking import warnings
from flowstead.daemon.previewing import preview_flow
from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.starting import StartRequest, start_flow


def list_flows(host: WorkspaceHost, *, again: bool = False) -> dict[str, Any]:
    """All flows of the workspace, by name, the broken ones with what is wrong with them.

    What a module failed for, other than by its text, is looked at again every ten seconds, or at once with `again`.
    """
    entries = host.catalog.entries(again=True) if again else host.catalog.entries_within()
    return {"flows": [_flow(host, entry) for entry in entries]}


def show_flow(host: WorkspaceHost, name: str, *, runs: int = 5) -> dict[str, Any]:
    """One flow with its whole plan, its source text, and its last runs."""
    entry = host.catalog.entry(name)
    flow = _flow(host, entry)
    spec = entry.spec
    flow["plan"] = spec.as_dict() if spec else None
    flow["runs"] = [run.as_dict() for run in host.as_seen(host.reader.runs(flow=name, limit=runs))]
    try:
        flow["text"] = entry.path.read_text("utf-8", errors="replace")
    except OSError:
        flow["text"] = None
    return flow


def check_flows(host: WorkspaceHost, *, name: str | None = None) -> dict[str, Any]:
    """One flow, or all, with remembered errors looked at anew, and warnings for what will go wrong when it runs."""
    entries = host.catalog.entries(again=True) if name is None else [host.catalog.entry(name)]
    return {"flows": [{**_flow(host, entry), "warnings": warnings(entry)} for entry in entries]}


def _flow(host: WorkspaceHost, entry: CatalogEntry) -> dict[str, Any]:
    spec = entry.spec
    return {
        "name": entry.name,
        "label": spec.label if spec else entry.name,
        "group": spec.group if spec else None,
        "mode": spec.trigger.mode if spec else None,
        "status": entry.status,
        "error": entry.error,
        "version": entry.digest,
        "description": spec.description if spec else None,
        "source": spec.trigger.source if spec else None,
        "file": entry.path.relative_to(host.layout.root).as_posix(),
        "trigger": spec.trigger.as_dict() if spec else None,
        "params": [each.as_dict() for each in spec.params] if spec else [],
        "steps": [
            {
                "index": step.index,
                "name": step.name,
                "label": step.label,
                "kind": step.kind,
                "use": step.use,
                "save_as": step.save_as,
            }
            for step in (spec.steps if spec else ())
        ],
    }


def start(
    host: WorkspaceHost,
    name: str,
    *,
    params: dict[str, Any] | None = None,
    source: str | None = None,
    force: bool = False,
    retry_failed: bool = False,
    new: bool = False,
    key: str | None = None,
    prepared: bool = False,
) -> dict[str, Any]:
    """Starts a flow: which runs are new, which go on, which were waiting already; see Started.

    Raises EnvironmentPending where its environment has to be prepared first; whoever has done so says `prepared`.
    """
    request = StartRequest(
        flow=name,
        params=params or {},
        source=Path(source) if source else None,
        force=force,
        retry_failed=retry_failed,
        new=new,
        key=key,
        prepared=prepared,
    )
    host.catalog.entry(name)  # an unknown name is told before the workspace is waited for
    engine = host.engine
    after = engine.ledger.last_event
    started = start_flow(engine, request)
    engine.dispatcher.include([name])
    return {**started.as_dict(), "after": after}


ROUTES = (
    Route("GET", "/flows", list_flows),
    Route("GET", "/flows/{name}", show_flow),
    Route("POST", "/flows/{name}/start", start),
    Route("POST", "/flows/{name}/preview", preview_flow, streams=True),
    Route("GET", "/check", check_flows),
)
