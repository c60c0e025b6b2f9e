"""Typed inputs of a manual run: what `Flow.ask` declares, and how a given value becomes one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PurePath

from flowstead.flow.errors import FlowDefinitionError, ParameterRefused

TYPES: dict[type, str] = {str: "str", int: "int", float: "float", bool: "bool", date: "date", Path: "path"}
_BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"

    def __reduce__(self) -> str:
        return "REQUIRED"  # a copy would no longer be recognised


REQUIRED = _Required()
"""The default of an input that has none."""


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """One of a few values of one type: `Choice("north", "south")`, or `Choice(["north", "south"])`."""

    options: tuple[str | int | float, ...]

    def __init__(self, *options: object) -> None:
        given = tuple(options[0]) if len(options) == 1 and isinstance(options[0], list | tuple) else options
        if (
            not given
            or {type(option) for option in given} not in ({str}, {int}, {float})
            or len(set(given)) < len(given)
        ):
            raise FlowDefinitionError(
                f"Choice(...) was given {', '.join(map(repr, given)) or 'nothing'}.",
                code="choice-invalid",
                hint='Give different values of one type, texts or numbers, such as Choice("north", "south").',
            )
        object.__setattr__(self, "options", given)


@dataclass(frozen=True, slots=True)
class Ask:
    """One typed input. `type` is str, int, float, bool, date, path or choice; `default` may be REQUIRED (none)."""

    name: str
    type: str
    choices: tuple[str | int | float, ...] = ()
    label: str = ""
    default: object = REQUIRED
    secret: bool = False

    @property
    def required(self) -> bool:
        """Whether a run cannot start without a value."""
        return self.default is REQUIRED

    def accept(self, value: object) -> object:
        """`value` as this input's type: it may be one already, or a text as a command line or a form gives it.

        Raises ParameterRefused (`parameter-invalid`); its message never shows a secret.
        """
        try:
            if self.type == "choice":
                return next(option for option in self.choices if _chosen(option, value))
            convert, _ = _CONVERTERS[self.type]
            return convert(value)
        except (ValueError, TypeError, OverflowError, StopIteration):
            given = "what was given" if self.secret else repr(value)
            wanted = f"one of {', '.join(map(str, self.choices))}" if self.choices else _CONVERTERS[self.type][1]
            raise ParameterRefused(
                f"Parameter {self.name!r}: {given} does not fit.",
                code="parameter-invalid",
                hint=f"Give {wanted}.",
                parameter=self.name,
            ) from None


def make_ask(name: object, type: object, label: object, default: object, secret: object) -> Ask:
    """The input of these arguments of `ask`. Raises FlowDefinitionError for what is wrong."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FlowDefinitionError(
            f"ask(name=...) is {name!r}.",
            code="argument-invalid",
            hint='Give a name of letters, digits, "_" and "-" that starts with a letter, such as "month".',
        )
    kind = "choice" if isinstance(type, Choice) else TYPES.get(type) if isinstance(type, _Type) else None
    if kind is None:
        raise FlowDefinitionError(
            f"ask({name!r}, type=...) is {type!r}.",
            code="argument-invalid",
            hint='Give str, int, float, bool, datetime.date, pathlib.Path or Choice("a", "b").',
        )
    if label is not None and (not isinstance(label, str) or not label.strip()):
        raise FlowDefinitionError(
            f"ask({name!r}, label=...) is {label!r}.", code="argument-invalid", hint="Give a non-empty text."
        )
    if not isinstance(secret, bool):
        raise FlowDefinitionError(
            f"ask({name!r}, secret=...) is {secret!r}.", code="argument-invalid", hint="Give True or False."
        )
    options = type.options if isinstance(type, Choice) else ()
    ask = Ask(name, kind, options, label.strip() if label else "", default, secret)
    if default is not REQUIRED and default is not None:
        try:
            object.__setattr__(ask, "default", ask.accept(default))
        except ParameterRefused as refused:
            shown = "what was given" if secret else repr(default)
            raise FlowDefinitionError(
                f"ask({name!r}, default=...) is {shown}, which does not fit its type.",
                code="argument-invalid",
                hint=refused.hint,
            ) from None
    return ask


def resolve_params(asks: Iterable[Ask], given: Mapping[str, object]) -> dict[str, object]:
    """Every input's typed value: what was `given`, else its default.

    Raises ParameterRefused: `parameter-unknown`, `parameter-missing`, `parameter-invalid`.
    """
    known = {ask.name: ask for ask in asks}
    for name in given:
        if name not in known:
            raise ParameterRefused(
                f"This flow has no parameter {name!r}.",
                code="parameter-unknown",
                hint=f"It asks for: {', '.join(known)}." if known else "It asks for none.",
                parameter=name,
            )
    values: dict[str, object] = {}
    for name, ask in known.items():
        value = given.get(name, ask.default)
        if value is REQUIRED:
            raise ParameterRefused(
                f"Parameter {name!r} has no value.",
                code="parameter-missing",
                hint=f"Give {name}=..., {ask.label or name}.",
                parameter=name,
            )
        values[name] = None if value is None and not ask.required else ask.accept(value)
    return values


_Type = type  # `type` is also the name of an argument above


def _chosen(option: object, value: object) -> bool:
    return str(option) == value.strip() if isinstance(value, str) else type(value) is type(option) and value == option


def _to_str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _to_int(value: object) -> int:
    if isinstance(value, str) or type(value) is int:
        return int(value)
    raise TypeError


def _to_float(value: object) -> float:
    if (isinstance(value, str) or type(value) in (int, float)) and math.isfinite(number := float(value)):  # type: ignore[arg-type]
        return number
    raise ValueError


def _to_bool(value: object) -> bool:
    if isinstance(value, str) and value.strip().lower() in _BOOLS:
        return _BOOLS[value.strip().lower()]
    if isinstance(value, bool):
        return value
    raise ValueError


def _to_date(value: object) -> date:
    if isinstance(value, str):
        return date.fromisoformat(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise TypeError


def _to_path(value: object) -> Path:
    if isinstance(value, str | PurePath) and str(value).strip() and "\0" not in str(value):
        return Path(value)
    raise ValueError


_CONVERTERS: dict[str, tuple[Callable[[object], object], str]] = {
    "str": (_to_str, "a text"),
    "int": (_to_int, "a whole number, such as 7"),
    "float": (_to_float, "a number, such as 2.5"),
    "bool": (_to_bool, "true or false"),
    "date": (_to_date, "a date, such as 2024-03-31"),
    "path": (_to_path, "a path"),
}
