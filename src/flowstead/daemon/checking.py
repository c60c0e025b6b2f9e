"""What is right in a flow's code and will still go wrong when it runs."""

from __future__ import annotations

from typing import Any

from flowstead.catalog import CatalogEntry
from flowstead.engine.freshness import source_root
from flowstead.model.flow import FlowSpec


def warnings(entry: CatalogEntry) -> list[dict[str, Any]]:
    """`{code, message, line}` for each thing that the author should look at; none for a broken flow."""
    spec = entry.spec
    return [] if spec is None else [*_unknown_waypoints(spec), *_missing_source(spec, entry)]


def _unknown_waypoints(spec: FlowSpec) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    saved: list[str] = []
    for step in spec.steps:
        if step.use not in (None, "current", *saved):
            known = f"saved by then: {', '.join(saved)}" if saved else "none is saved by then"
            message = f"{step.label} uses {step.use!r}, which no step before it saves ({known})."
            found.append({"code": "waypoint-unknown", "message": message, "line": step.line})
        if step.save_as is not None:
            saved.append(step.save_as)
    return found


def _missing_source(spec: FlowSpec, entry: CatalogEntry) -> list[dict[str, Any]]:
    root = source_root(spec, entry.path.parent)
    if root is None or root.exists():
        return []
    message = f"Its source {root} does not exist (yet)."
    return [{"code": "source-missing", "message": message, "line": None}]
