"""Settings and guides."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error

Value = bool | int | float | str | list[str]


class Setting(TypedDict):
    """A setting of this machine; `set_by` says where its value comes from.

    `file_value` is what settings.toml says, whatever counts; `effect` is what has to begin anew before a change counts.
    """

    name: str
    value: Value
    default: Value
    file_value: Value | None
    set_by: Literal["default", "settings.toml", "environment"]
    variable: str
    kind: Literal["whole number", "number", "text", "choice", "names"]
    choices: list[str]
    least: float | None
    most: float | None
    about: str
    effect: Literal["workspace", "daemon"]


class MachineSettings(TypedDict):
    """All settings; `problem` is what is wrong with settings.toml, and `unknown` what it names that does not exist."""

    path: str
    tag: str
    problem: Error | None
    unknown: list[str]
    settings: list[Setting]
    changed: NotRequired[list[str]]


class Heading(TypedDict):
    level: int
    text: str
    anchor: str


class ListedGuide(TypedDict):
    """A guide; links name its headings by their anchors."""

    name: str
    title: str
    headings: list[Heading]


class Guides(TypedDict):
    guides: list[ListedGuide]


class GuideText(ListedGuide):
    """A guide as Markdown."""

    text: str
