"""Requests for the project's guides, which come with it: no page of theirs is asked for elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from flowstead.daemon import guidebook
from flowstead.daemon.files.answers import FileAnswer, headers_for
from flowstead.daemon.machine import Machine
from flowstead.daemon.routes.route import Route


def list_guides(machine: Machine) -> dict[str, Any]:
    """Every guide with its headings: `{guides: [{name, title, headings: [{level, text, anchor}]}]}`."""
    return {"guides": [_listed(each) for each in guidebook.guides()]}


def show_guide(machine: Machine, name: str) -> dict[str, Any]:
    """One guide as Markdown: `{name, title, headings, text}`.

    In its text, `other.md#anchor` leads to another guide, and `images/NAME` to an image of /guides/images/NAME.
    """
    found = guidebook.guide(name)
    return {**_listed(found), "text": found.text}


def guide_image(machine: Machine, name: str) -> FileAnswer:
    """An image that a guide shows."""
    place = guidebook.image(name)
    media_type = guidebook.IMAGES[PurePath(name).suffix]
    return FileAnswer(place, media_type, headers_for(name, media_type, attached=False))


def _listed(guide: guidebook.Guide) -> dict[str, Any]:
    return {"name": guide.name, "title": guide.title, "headings": [asdict(each) for each in guide.headings]}


ROUTES = (
    Route("GET", "/guides", list_guides),
    Route("GET", "/guides/{name}", show_guide),
    Route("GET", "/guides/images/{name}", guide_image),
)
