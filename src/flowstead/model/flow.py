"""A flow as its plan tells it: what every surface shows and the engine triggers by, without any of its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TriggerSpec:
    """When a flow runs. `interval` is in seconds; `settle` is `{"looks": n}`, `{"seconds": s}` or None."""

    mode: str = "manual"
    run_as: str = "individual"
    max_parallel: int = 1
    source: str | None = None
    interval: float | None = None
    time: tuple[str, ...] = ()
    cron: str | None = None
    timezone: str | None = None
    missed: str = "latest"
    extensions: tuple[str, ...] = ()
    settle: Mapping[str, float] | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TriggerSpec:
        return cls(
            mode=data.get("mode", "manual"),
            run_as=data.get("run_as", "individual"),
            max_parallel=data.get("max_parallel", 1),
            source=data.get("source"),
            interval=data.get("interval"),
            time=tuple(data.get("time") or ()),
            cron=data.get("cron"),
            timezone=data.get("timezone"),
            missed=data.get("missed", "latest"),
            extensions=tuple(data.get("extensions") or ()),
            settle=data.get("settle"),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "run_as": self.run_as,
            "max_parallel": self.max_parallel,
            "source": self.source,
            "interval": self.interval,
            "time": list(self.time),
            "cron": self.cron,
            "timezone": self.timezone,
            "missed": self.missed,
            "extensions": list(self.extensions),
            "settle": None if self.settle is None else dict(self.settle),
        }


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One typed input of a manual run; `default` is in its JSON form."""

    name: str
    type: str
    choices: tuple[Any, ...] = ()
    label: str | None = None
    default: Any = None
    required: bool = False
    secret: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ParamSpec:
        return cls(
            name=data["name"],
            type=data["type"],
            choices=tuple(data.get("choices") or ()),
            label=data.get("label"),
            default=data.get("default"),
            required=data.get("required", False),
            secret=data.get("secret", False),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "choices": list(self.choices),
            "label": self.label,
            "default": self.default,
            "required": self.required,
            "secret": self.secret,
        }


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of the plan. `retry_delay` and `timeout` are in seconds; `line` is where it stands in its module."""

    index: int
    name: str
    label: str
    kind: str
    use: str | None = None
    save_as: str | None = None
    retries: int = 0
    retry_delay: float = 1.0
    timeout: float | None = None
    checkpoint: bool | str = "auto"
    workers: int = 1
    on_error: str = "raise"
    extensions: tuple[str, ...] = ()
    root: str | None = None
    recursive: bool = False
    line: int | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StepSpec:
        return cls(
            index=data["index"],
            name=data["name"],
            label=data["label"],
            kind=data["kind"],
            use=data.get("use"),
            save_as=data.get("save_as"),
            retries=data.get("retries", 0),
            retry_delay=data.get("retry_delay", 1.0),
            timeout=data.get("timeout"),
            checkpoint=data.get("checkpoint", "auto"),
            workers=data.get("workers", 1),
            on_error=data.get("on_error", "raise"),
            extensions=tuple(data.get("extensions") or ()),
            root=data.get("root"),
            recursive=data.get("recursive", False),
            line=data.get("line"),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "use": self.use,
            "save_as": self.save_as,
            "retries": self.retries,
            "retry_delay": self.retry_delay,
            "timeout": self.timeout,
            "checkpoint": self.checkpoint,
            "workers": self.workers,
            "on_error": self.on_error,
            "extensions": list(self.extensions),
            "root": self.root,
            "recursive": self.recursive,
            "line": self.line,
        }


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """The plan of one flow version. `timeout` is in seconds, `mirror` the root of its mirrored outputs."""

    name: str
    group: str
    label: str
    resume: str = "auto"
    timeout: float | None = None
    trigger: TriggerSpec = TriggerSpec()
    mirror: str | None = None
    params: tuple[ParamSpec, ...] = ()
    steps: tuple[StepSpec, ...] = ()
    description: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FlowSpec:
        """Parses a plan; unknown fields are ignored. Raises KeyError when a name, a kind or an index is missing."""
        return cls(
            name=data["name"],
            group=data["group"],
            label=data["label"],
            resume=data.get("resume", "auto"),
            timeout=data.get("timeout"),
            trigger=TriggerSpec.from_dict(data.get("trigger") or {}),
            mirror=data.get("mirror"),
            params=tuple(ParamSpec.from_dict(param) for param in data.get("params") or ()),
            steps=tuple(StepSpec.from_dict(step) for step in data.get("steps") or ()),
            description=data.get("description"),
        )

    def as_dict(self) -> dict[str, Any]:
        """The plan in the form `from_dict` reads."""
        return {
            "name": self.name,
            "group": self.group,
            "label": self.label,
            "resume": self.resume,
            "timeout": self.timeout,
            "trigger": self.trigger.as_dict(),
            "mirror": self.mirror,
            "params": [param.as_dict() for param in self.params],
            "steps": [step.as_dict() for step in self.steps],
            "description": self.description,
        }
