"""The project's guides, as they come with the package: pages of Markdown, and the images that they show."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from flowstead.daemon.files.opening import Place
from flowstead.model.errors import NotFound

ORDER = (
    "authoring",
    "console",
    "commands",
    "workspaces",
    "environments",
    "duckdb-helpers",
    "settings",
    "performance",
    "api",
)
"""The order in which people need them; others follow by name."""

IMAGES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".webp": "image/webp"}
_PACKAGED = Path(__file__).parent / "guides"
_CHECKOUT = Path(__file__).parents[3] / "docs"
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*")


@dataclass(frozen=True, slots=True)
class Heading:
    """`anchor` is what a link to it names after `#`, unlike any other of its page."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Guide:
    """One page; `name` is what links call it, without its ending."""

    name: str
    title: str
    headings: tuple[Heading, ...]
    text: str


def folder() -> Path:
    """Where the guides are: in the package, or in the checkout that it is run from."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def guides() -> list[Guide]:
    """Every guide, in the order in which people need them."""
    names = [path.stem for path in folder().glob("*.md")]
    known = {name: number for number, name in enumerate(ORDER)}
    return [_read(name) for name in sorted(names, key=lambda name: (known.get(name, len(known)), name))]


def guide(name: str) -> Guide:
    """One of them. Raises NotFound."""
    # Only names that are listed are looked for: no name leads elsewhere.
    if name not in {path.stem for path in folder().glob("*.md")}:
        raise NotFound(f"There is no guide {name!r}.", code="guide-not-found", hint="See the list of guides.")
    return _read(name)


def image(name: str) -> Place:
    """An image that guides show. Raises NotFound."""
    images = folder() / "images"
    if name not in {path.name for path in images.glob("*") if path.suffix in IMAGES}:
        raise NotFound(f"There is no image {name!r} in the guides.", code="guide-not-found")
    return Place(str(images.resolve()), name)


def table_rows(name: str) -> dict[str, str]:
    """The rows of the tables of a guide whose first column is one name as code: that name, and the last column."""
    rows: dict[str, str] = {}
    for line in _read(name).text.splitlines():
        found = re.fullmatch(r"\|\s*`(\w+)`\s*\|(?:.*\|)?\s*([^|]*?)\s*\|", line.replace("\\|", "\u2502"))
        if found:
            rows.setdefault(found[1], found[2].replace("\u2502", "|"))
    return rows


def _read(name: str) -> Guide:
    try:
        text = (folder() / f"{name}.md").read_text("utf-8")
    except OSError as error:
        raise NotFound(f"The guide {name!r} cannot be read: {error.strerror}.", code="guide-not-found") from error
    headings = _headings(text)
    title = next((each.text for each in headings if each.level == 1), name)
    return Guide(name, title, tuple(headings), text)


def _headings(text: str) -> list[Heading]:
    found: list[Heading] = []
    taken: dict[str, int] = {}
    fence = ""
    for line in text.splitlines():
        marks = _FENCE.match(line)
        if fence:
            if marks and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if marks:
            fence = marks[1]
            continue
        heading = _HEADING.fullmatch(line)
        if heading:
            words = _plain(heading[2])
            anchor = anchor_of(words)
            count = taken[anchor] = taken.get(anchor, -1) + 1
            found.append(Heading(len(heading[1]), words, f"{anchor}-{count}" if count else anchor))
    return found


def _plain(text: str) -> str:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"(?<!\w)[*_]+|[*_]+(?!\w)|`", "", text)


def anchor_of(words: str) -> str:
    """What a link calls a heading: small letters and digits, spaces as hyphens, as Markdown pages have them."""
    kept = [each for each in words.lower() if each in " -_" or unicodedata.category(each)[0] in "LNM"]
    return "".join(kept).replace(" ", "-")
