"""What an installer's own words say about what could not be had, and which line of a manifest asked for it."""

from __future__ import annotations

import re
from typing import Any

from flowstead.environments.declaration import Declaration, Requirement
from flowstead.model.errors import BuildFailed

_LONGEST = 4_000
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_UNREACHABLE = re.compile(
    r"failed to fetch|error sending request|dns error|connection (refused|reset)|timed out|network is unreachable"
    r"|temporary failure in name resolution|HTTP status (server error|5\d\d)|request failed after \d+ retries",
    re.IGNORECASE,
)
_FULL = re.compile(r"no space left on device|disk quota exceeded|os error 28\b|os error 122\b", re.IGNORECASE)


def failed(words: str, declaration: Declaration, installer: str) -> BuildFailed:
    """The error of a build whose installer ended with `words`; `installer` is its name.

    It has the words (the last 4,000 characters), and the file and line of the requirement that they name first.
    """
    words = words.strip()[-_LONGEST:]
    if _FULL.search(words):
        return BuildFailed(
            f"The disk is full: {installer} could not install the packages.",
            code="disk-full",
            hint="Free some space, for example with: flowstead env gc",
            words=words,
        )
    detail: dict[str, Any] = {"words": words, "installer": installer}
    named = named_requirements(words, declaration)
    hint = "Mend the requirement, then start the flow again."
    if named:
        first = named[0]
        detail |= {"requirement": first.text, "file": first.file}
        if first.line is not None:
            detail["line"] = first.line
        where = f"{first.file}:{first.line}" if first.line is not None else first.file
        hint = f"Mend the requirement {name_of(first) or first.text!r} in {where}, then start the flow again."
    if _UNREACHABLE.search(words):
        detail["passing"] = True
        hint = "Check the connection to the package index, then start the flow again."
    elif "network was disabled" in words or "offline" in words.lower():
        hint = f"{hint} The network is switched off (UV_OFFLINE), so only what is in the cache can be had."
    return BuildFailed(f"{installer} could not install what {declaration.file} asks for.", hint=hint, **detail)


def named_requirements(words: str, declaration: Declaration) -> list[Requirement]:
    """The requirements that an installer's words name: what "you require" first, then as they are named."""
    places: list[tuple[int, int, Requirement]] = []
    for requirement in (*declaration.requirements, *declaration.pip, *declaration.constraints):
        name = name_of(requirement)
        if name is None:
            continue
        spelled = "[-_.]+".join(re.escape(part) for part in re.split(r"[-_.]+", name))
        whole = rf"(?<![\w.-]){spelled}(?![\w-]|\.\w)"
        certain = re.search(
            rf"(?:this-flow depends on|require|requires|requested|build|fetch|download|prepare):?\s+`?{whole}",
            words,
            re.I,
        )
        found = certain or re.search(whole, words, re.I)
        if found is not None:
            places.append((0 if certain else 1, found.start(), requirement))
    return [requirement for *_, requirement in sorted(places, key=lambda place: place[:2])]


def name_of(requirement: Requirement) -> str | None:
    """The package that a requirement names; None for a bare path or address."""
    text = requirement.text.strip()
    if text.startswith(("/", ".", "-", "file:", "http:", "https:", "git+")) or text[1:3] in (":\\", ":/"):
        return None
    found = _NAME.match(text.rpartition("::")[2])
    return found.group(1) if found else None
