"""Text as an editor has it, `\\n` at each line's end, and as it lies on the disk: with its own line ends and BOM."""

from __future__ import annotations

import codecs
import hashlib
import re
from itertools import zip_longest

from flowstead.model.errors import FlowsteadError, UsageError

MOST_BYTES = 512 * 1024
_END = re.compile(r"\r\n|\r|\n")


def tag_of(content: bytes) -> str:
    """The version tag of a file's bytes."""
    return hashlib.sha256(content).hexdigest()[:32]


def decode(content: bytes, name: str) -> str:
    """The text of a file, without BOM, each line ended by `\\n`. Raises FlowsteadError (`file-not-text`)."""
    if b"\0" in content:
        raise not_text(name, "it holds bytes that no text has")
    try:
        return _END.sub("\n", content.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise not_text(name, f"line {line} is not UTF-8", line=line) from None


def encode(text: str, before: bytes = b"") -> bytes:
    """`text` as bytes for the disk, in the manner of what the file held before.

    Lines that stand as they were keep their own ends where a file has several kinds; others get the most frequent one.
    Raises UsageError (`text-invalid`).
    """
    check(text)
    bom = codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b""
    return bom + _with_ends(_END.sub("\n", text), before.removeprefix(bom)).encode()


def check(text: str) -> None:
    """Raises UsageError (`text-invalid`, `text-too-large`) for what cannot be a file of a workspace."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError("The text holds characters that UTF-8 does not have.", code="text-invalid") from None
    if "\0" in text:
        raise UsageError("The text holds a null character.", code="text-invalid")
    if size > MOST_BYTES:
        raise UsageError(
            f"The text is larger than {MOST_BYTES // 1024} KiB.",
            code="text-too-large",
            hint="Edit a file of that size with an editor of this computer.",
        )


def _with_ends(text: str, before: bytes) -> str:
    try:
        old = before.decode("utf-8")
    except UnicodeDecodeError:
        return text
    ends = _END.findall(old)
    kinds = set(ends)
    if kinds <= {"\n"}:
        return text
    usual = max(sorted(kinds), key=ends.count)
    if len(kinds) == 1:
        return text.replace("\n", usual)
    old_lines, lines = _END.split(old), text.split("\n")
    first = _agreeing(old_lines, lines)
    left = min(len(old_lines), len(lines)) - first
    last = min(left, _agreeing(old_lines[::-1], lines[::-1]))
    chosen = [usual] * (len(lines) - 1)
    chosen[:first] = ends[: min(first, len(chosen))]
    if last > 1:
        chosen[len(chosen) - (last - 1) :] = ends[len(ends) - (last - 1) :]
    return "".join(line + end for line, end in zip_longest(lines, chosen[: len(lines) - 1], fillvalue=""))


def _agreeing(one: list[str], other: list[str]) -> int:
    count = 0
    for mine, its in zip(one, other, strict=False):
        if mine != its:
            break
        count += 1
    return count


def not_text(name: str, why: str, **detail: object) -> FlowsteadError:
    return FlowsteadError(
        f"{name} cannot be edited here: {why}.",
        code="file-not-text",
        hint="Save it as UTF-8 with an editor of this computer.",
        **detail,
    )
