"""A flow as plain data: what every surface, and every other process, knows of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from flowstead.flow.definition import Flow
from flowstead.flow.signatures import first_line, title


def describe(flow: Flow) -> dict[str, Any]:
    """The flow's plan, JSON-able. Durations are in seconds, paths absolute, a step's `line` that of its function."""
    trigger = flow.trigger
    settle: dict[str, Any] | None = None
    if trigger.mode == "poll":
        settle = {"looks": trigger.settle_looks}
        if trigger.settle_seconds is not None:
            settle = {"seconds": trigger.settle_seconds}
    return {
        "name": flow.name,
        "group": flow.group,
        "label": flow.title,
        "resume": flow.resume,
        "timeout": flow.timeout,
        "trigger": {
            "mode": trigger.mode,
            "run_as": trigger.run_as,
            "max_parallel": trigger.max_parallel,
            "source": _path(flow, trigger.source),
            "interval": trigger.interval,
            "time": list(trigger.time),
            "cron": trigger.cron,
            "timezone": trigger.timezone,
            "missed": trigger.missed,
            "extensions": list(trigger.extensions),
            "settle": settle,
        },
        "mirror": _path(flow, flow.mirror_root),
        "params": [
            {
                "name": param.name,
                "type": param.type,
                "choices": list(param.choices),
                "label": param.label or title(param.name),
                "default": None if param.required else _plain(param.default),
                "required": param.required,
                "secret": param.secret,
            }
            for param in flow.params
        ],
        "steps": [
            {
                "index": step.index,
                "name": step.name,
                "label": step.label,
                "kind": step.kind,
                "use": step.use,
                "save_as": step.save_as,
                "retries": step.retries,
                "retry_delay": step.retry_delay,
                "timeout": step.timeout,
                "checkpoint": step.checkpoint,
                "workers": step.workers,
                "on_error": step.on_error,
                "extensions": list(step.extensions),
                "root": _path(flow, step.root),
                "recursive": step.recursive,
                "line": first_line(step.fn),
            }
            for step in flow.steps
        ],
    }


def _path(flow: Flow, path: str | None) -> str | None:
    return None if path is None else str(flow.resolve(path))


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, Path) else value
