"""What an author writes: an immutable flow, built step by step and checked as it is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flowstead.flow.durations import parse_duration
from flowstead.flow.errors import FlowDefinitionError
from flowstead.flow.params import REQUIRED, Ask, Choice, make_ask
from flowstead.flow.signatures import base_name, check_map_function, check_step_function, title
from flowstead.flow.triggers import (
    Trigger,
    make_trigger,
    normalize_extensions,
    one_of,
    path_text,
    text,
    whole_number,
)

if TYPE_CHECKING:
    from flowstead.flow.context import FlowContext

MANUAL = Trigger()

__all__ = ["Ask", "Choice", "Flow", "Step", "Trigger"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a flow. `retry_delay` and `timeout` are in seconds; `takes_context`: a map's `fn(context, item)`."""

    index: int
    kind: Literal["step", "map", "collect"]
    name: str
    label: str
    fn: Callable[..., Any] | None = None
    use: str | None = None
    save_as: str | None = None
    retries: int = 0
    retry_delay: float = 1.0
    timeout: float | None = None
    checkpoint: Literal["auto"] | bool = "auto"
    workers: int = 1
    on_error: Literal["raise", "collect", "skip"] = "raise"
    takes_context: bool = False
    extensions: tuple[str, ...] = ()
    root: str | None = None
    recursive: bool = False


@dataclass(frozen=True, init=False)
class Flow:
    """An immutable plan of ordered steps. Every method returns a new flow and leaves this one as it is.

    `group`: flows of one group take turns. `name`: the module's file name decides it, once the flow is loaded.
    `label`: what people read. `resume`: "auto" goes on after a crash, "manual" waits to be told, "never" ends the run
    as interrupted. `timeout`: a duration such as "2h" for a whole run.

    Raises FlowDefinitionError when an argument is wrong, here and in every method.
    """

    group: str
    name: str | None = None
    label: str | None = None
    resume: str = "auto"
    timeout: float | None = None
    trigger: Trigger = MANUAL
    mirror_root: str | None = None
    params: tuple[Ask, ...] = ()
    steps: tuple[Step, ...] = ()
    module_dir: Path | None = None
    workspace_root: Path | None = None

    def __init__(
        self,
        group: str,
        *,
        name: str | None = None,
        label: str | None = None,
        resume: Literal["auto", "manual", "never"] = "auto",
        timeout: str | None = None,
    ) -> None:
        self.__dict__.update(
            group=text("Flow(group=...)", group, '"Sales"'),
            name=None if name is None else text("Flow(name=...)", name, '"daily_sales"'),
            label=None if label is None else text("Flow(label=...)", label, '"Daily sales"'),
            resume=one_of("Flow(resume=...)", resume, ("auto", "manual", "never")),
            timeout=None if timeout is None else parse_duration(timeout, "Flow(timeout=...)"),
        )

    def watch(
        self,
        *,
        mode: Literal["manual", "poll", "schedule"] = "manual",
        run_as: Literal["individual", "batch"] = "individual",
        max_parallel: int = 1,
        source: str | os.PathLike[str] | None = None,
        interval: str | None = None,
        time: str | Iterable[str] | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        missed: Literal["latest", "skip", "all"] = "latest",
        extensions: str | Iterable[str] | None = None,
        settle: int | str = 1,
    ) -> Flow:
        """When the flow runs, and on which files. Replaces what an earlier `watch` said; without any, it is manual.

        `mode`: "manual" takes no interval, time, cron, settle; "poll" needs source and interval and runs what is new
        or changed; "schedule" takes exactly one of interval, time ("HH:MM" or several) and cron (five fields).
        `run_as`: a run for each source file, or one for all of them. `max_parallel`: how many runs at once.
        `source`: a folder or a file, relative to the module's folder. `extensions`: which of its files count.
        `timezone`: an IANA name for time and cron. `missed`: what of the slots that passed unseen still runs.
        `settle`: a file is taken after so many looks that found it unchanged, or after so long ("10s").
        """
        return self._with(
            trigger=make_trigger(
                mode=mode,
                run_as=run_as,
                max_parallel=max_parallel,
                source=source,
                interval=interval,
                time=time,
                cron=cron,
                timezone=timezone,
                missed=missed,
                extensions=extensions,
                settle=settle,
            )
        )

    def mirror(self, root: str | os.PathLike[str]) -> Flow:
        """Where the outputs of `context.mirror` go: below `root`, a folder, relative to the module's."""
        return self._with(mirror_root=path_text("mirror(root=...)", root))

    def ask(
        self,
        name: str,
        type: type[str] | type[int] | type[float] | type[bool] | type[date] | type[Path] | Choice = str,
        *,
        label: str | None = None,
        default: Any = REQUIRED,
        secret: bool = False,
    ) -> Flow:
        """A typed input of a run, read as `context.params[name]`.

        `type`: str, int, float, bool, date, Path or Choice("a", "b"). `default`: without one, a run must be given a
        value; None makes it optional. `secret`: the value is never shown.
        """
        asked = make_ask(name, type, label, default, secret)
        if any(param.name == asked.name for param in self.params):
            raise FlowDefinitionError(
                f"ask({name!r}) comes twice.", code="argument-invalid", hint="Give each input a name of its own."
            )
        return self._with(params=(*self.params, asked))

    def step(
        self,
        fn: Callable[[FlowContext], Any],
        *,
        use: str | None = None,
        save_as: str | None = None,
        label: str | None = None,
        retries: int = 0,
        retry_delay: str = "1s",
        timeout: str | None = None,
        checkpoint: Literal["auto"] | bool = "auto",
    ) -> Flow:
        """A step: `fn(context)`, whose return value becomes `context.current`.

        `use`: the waypoint that is `context.current` when it starts. `save_as`: the waypoint its value is kept under.
        `retries`: how often it is tried again, the first time after about `retry_delay`, then after longer.
        `timeout`: a duration after which its process is ended. `checkpoint`: whether a resumed run can load its value
        instead of computing it again; "auto" decides by cost.
        """
        check_step_function("step(fn)", fn)
        if checkpoint != "auto" and not isinstance(checkpoint, bool):
            raise FlowDefinitionError(
                f"step(checkpoint=...) is {checkpoint!r}.",
                code="argument-invalid",
                hint='Give "auto", True or False.',
            )
        return self._add(
            "step",
            base_name(fn),
            use,
            save_as,
            label,
            fn=fn,
            retries=whole_number("step(retries=...)", retries, at_least=0),
            retry_delay=parse_duration(retry_delay, "step(retry_delay=...)"),
            timeout=None if timeout is None else parse_duration(timeout, "step(timeout=...)"),
            checkpoint=checkpoint,
        )

    def map(
        self,
        fn: Callable[..., Any],
        *,
        use: str | None = None,
        save_as: str | None = None,
        label: str | None = None,
        workers: int = 1,
        on_error: Literal["raise", "collect", "skip"] = "raise",
        retries: int = 0,
        timeout: str | None = None,
    ) -> Flow:
        """A step that calls `fn(item)` or `fn(context, item)` for each item of the current batch, in order.

        Its value is a Batch of what `fn` returned. `workers`: how many items at once, in threads. `on_error`: one
        failed item fails the step ("raise"), or each item gives an ItemResult ("collect"), or failed ones are left out
        ("skip"). `retries` are per item; `timeout` is for the whole step.
        """
        return self._add(
            "map",
            base_name(fn),
            use,
            save_as,
            label,
            fn=fn,
            takes_context=check_map_function("map(fn)", fn),
            workers=whole_number("map(workers=...)", workers, at_least=1),
            on_error=one_of("map(on_error=...)", on_error, ("raise", "collect", "skip")),
            retries=whole_number("map(retries=...)", retries, at_least=0),
            timeout=None if timeout is None else parse_duration(timeout, "map(timeout=...)"),
        )

    step_each = map

    def collect(
        self,
        extensions: str | Iterable[str],
        *,
        root: str | os.PathLike[str] | None = None,
        recursive: bool = False,
        use: str | None = None,
        save_as: str | None = None,
        label: str | None = None,
    ) -> Flow:
        """A step whose value is the sorted Batch of FileRefs with these extensions; a missing root gives an empty one.

        `root`: a folder, relative to the module's; without it, the root of the flow's source.
        """
        if not isinstance(recursive, bool):
            raise FlowDefinitionError(
                f"collect(recursive=...) is {recursive!r}.", code="argument-invalid", hint="Give True or False."
            )
        return self._add(
            "collect",
            "collect",
            use,
            save_as,
            label,
            extensions=normalize_extensions("collect(extensions=...)", extensions),
            root=None if root is None else path_text("collect(root=...)", root),
            recursive=recursive,
        )

    def preview(self, use: str | None = None, *, params: Mapping[str, Any] | None = None) -> Any:
        """Runs the flow here and now, without a record, and returns the real object.

        `use`: the waypoint to stop at and return; without it, the last step's value. Of a flow with source files, the
        first is taken. Raises FlowDefinitionError for an unknown waypoint, and whatever a step raises.
        """
        from flowstead.flow.local import preview

        return preview(self, use, params=params)

    def run_once(self, *, params: Mapping[str, Any] | None = None) -> list[FlowContext]:
        """Runs the flow here and now, without a record, once for each source file (or once); returns the contexts."""
        from flowstead.flow.local import run_once

        return run_once(self, params=params)

    def run(self) -> None:
        """Runs the flow here, without a record, whenever it is due, until Ctrl-C; a manual flow once."""
        from flowstead.flow.foreground import run

        run(self)

    def bind(self, *, name: str, module_dir: Path | None, workspace_root: Path | None) -> Flow:
        """This flow as a module's: named by its file, with relative paths taken from the module's folder."""
        return self._with(name=name, module_dir=module_dir, workspace_root=workspace_root)

    def resolve(self, path: str) -> Path:
        """`path` made absolute from the module's folder, or from the current one for a flow of no module.

        Links stay as they are, so that a path reads as it was written.
        """
        start = self.module_dir or Path.cwd()
        return Path(os.path.abspath(start / Path(path).expanduser()))

    @property
    def title(self) -> str:
        """What people read: the label, else the name in words."""
        return self.label or title(self.name or "flow")

    def _add(self, kind: str, name: str, use: str | None, save_as: str | None, label: str | None, **more: Any) -> Flow:
        index = len(self.steps)
        name = _unique(name or f"step_{index + 1}", {step.name for step in self.steps})
        if use is not None:
            use = text(f"{kind}(use=...)", use, '"raw"')
        if save_as is not None:
            save_as = text(f"{kind}(save_as=...)", save_as, '"raw"')
        if save_as == "current":
            raise FlowDefinitionError(
                f'{kind}(save_as=...) is "current", the name of the moving value itself.',
                code="argument-invalid",
                hint='Choose another name, such as "raw", or leave save_as= out.',
            )
        label = title(name) if label is None else text(f"{kind}(label=...)", label, '"Read workbook"')
        step = Step(index=index, kind=kind, name=name, label=label, use=use, save_as=save_as, **more)  # type: ignore[arg-type]
        return self._with(steps=(*self.steps, step))

    def _with(self, **changes: Any) -> Flow:
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__, **changes)
        needed = [param.name for param in changed.params if param.required]
        if needed and changed.trigger.mode != "manual":
            raise FlowDefinitionError(
                f'ask({needed[0]!r}) has no default, but watch(mode="{changed.trigger.mode}") starts runs by itself.',
                code="ask-needs-default",
                hint='Give it default=..., or leave the flow with mode="manual".',
            )
        return changed


def _unique(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
