"""How a workspace stands between machines, in a sentence, with what can be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowstead.engine.following import gaps_of
from flowstead.model.errors import FlowsteadError
from flowstead.model.run import iso

if TYPE_CHECKING:
    from flowstead.daemon.workspace_host import WorkspaceHost
    from flowstead.workspace.segments import Gap
    from flowstead.workspace.standing import Standing


def standing_as_dict(host: WorkspaceHost) -> dict[str, Any]:
    """STANDING: who owns the workspace as seen from this machine, how fresh that is, and which actions there are.

    `refusal` is what would be answered to whoever runs something now; None when it would run.
    """
    layout = host.layout
    about: dict[str, Any] = {"workspace": layout.key, "name": layout.workspace_id, "path": str(layout.root)}
    try:
        standing = host.standing
    except FlowsteadError as error:
        # A share that is away is a state too, and the one in which people look here.
        away = {"state": "unreachable", "message": error.message, "hint": error.hint, "refusal": error.as_dict()}
        return {**about, **_UNKNOWN, **away}
    engine = host.open_engine
    request = standing.request
    refusal = host.refusal_of(standing)
    return {
        **about,
        "state": standing.state,
        "message": standing.reason,
        "hint": "",
        "owner": _owner(standing),
        "epoch": standing.epoch,
        "generation": standing.generation,
        "gaps": [gap_in_words(gap) for gap in gaps_of(host.reader)],
        "request": None
        if request is None
        else {**standing.as_dict()["request"], "mine": request.machine_id == host.machine_id},
        "engine": _engine_in_words(host),
        "handing_over_to": engine.owner.handing_over_to if engine is not None else None,
        "holder": host.holder,
        "actions": _actions(host, standing),
        "refusal": None if refusal is None else refusal.as_dict(),
    }


def standing_as_seen(host: WorkspaceHost) -> dict[str, Any]:
    """How the workspace stood at the last look: what a page shows all the time, and must not wait for a share for.

    `unchanged_seconds` is for how long the owner has given no sign of life.
    """
    try:
        standing = host.seen_standing
    except FlowsteadError as error:
        return {**_UNSEEN, "message": error.message}
    engine, trouble = host.open_engine, host.trouble
    told: dict[str, Any] = {
        "state": standing.state,
        "message": standing.reason,
        "host": standing.host or None,
        "mine": standing.state == "mine",
        "since": iso(standing.since) if standing.since else None,
        "unchanged_seconds": round(standing.unchanged, 1),
        "handing_over_to": engine.owner.handing_over_to if engine is not None else None,
        "actions": _actions(host, standing),
    }
    return told if trouble is None else {**told, "state": "unreachable", "message": trouble.message, "actions": []}


_UNSEEN: dict[str, Any] = {
    "state": "unreachable",
    "message": "",
    "host": None,
    "mine": False,
    "since": None,
    "unchanged_seconds": 0.0,
    "handing_over_to": None,
    "actions": [],
}

_UNKNOWN: dict[str, Any] = {
    "owner": None,
    "epoch": 0,
    "generation": 0,
    "gaps": [],
    "request": None,
    "engine": "",
    "handing_over_to": None,
    "holder": None,
    "actions": [],
}


def _owner(standing: Standing) -> dict[str, Any] | None:
    if standing.state not in ("mine", "owned", "stale"):
        return None
    known = standing.as_dict()
    return {name: known[name] for name in ("machine_id", "host", "pid", "version", "since", "unchanged_seconds")}


def _engine_in_words(host: WorkspaceHost) -> str:
    engine = host.open_engine
    if engine is None:
        return ""
    if engine.owner.handing_over_to is not None:
        return f"handing over to {engine.owner.handing_over_to}; what runs may finish"
    return "running"


def _actions(host: WorkspaceHost, standing: Standing) -> list[str]:
    mine = standing.request is not None and standing.request.machine_id == host.machine_id
    match standing.state:
        case "owned":
            return ["withdraw-request" if mine else "request-control"]
        case "stale":
            return ["takeover"]
        case "mine":
            return ["release"] if host.holder is not None else []
        case _:
            return []


def gap_in_words(gap: Gap) -> str:
    """What of the published state cannot be had, and why."""
    which = f"Generation {gap.first}" if gap.first == gap.last else f"Generations {gap.first} to {gap.last}"
    file = f" ({gap.file})" if gap.file else ""
    return f"{which} of the published state: {gap.reason[:1].lower()}{gap.reason[1:]}{file}"
