"""What a file is: by its first bytes where these say so, else by its name."""

from __future__ import annotations

import json
from typing import NamedTuple

HEAD = 65_536
"""How many bytes tell what a file is."""


class Kind(NamedTuple):
    """`kind` is table, image, text, markdown, html, pdf, json or binary; `format` says how a table is stored."""

    kind: str
    media_type: str
    format: str | None = None


_TABLES = {
    "parquet": ("parquet", "pq"),
    "csv": ("csv",),
    "tsv": ("tsv", "tab"),
    "excel": ("xlsx", "xlsm", "xlsb", "xls", "ods"),
    "arrow": ("arrow", "feather", "ipc", "arrows"),
    "ndjson": ("ndjson", "jsonl"),
    "duckdb": ("duckdb",),
}
_FORMATS = {suffix: name for name, suffixes in _TABLES.items() for suffix in suffixes}
_MEDIA_TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "excel": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "arrow": "application/vnd.apache.arrow.file",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "duckdb": "application/octet-stream",
}
_TEXT = "text/plain; charset=utf-8"
_SHOWN = {
    "png": Kind("image", "image/png"),
    "jpg": Kind("image", "image/jpeg"),
    "jpeg": Kind("image", "image/jpeg"),
    "gif": Kind("image", "image/gif"),
    "webp": Kind("image", "image/webp"),
    "avif": Kind("image", "image/avif"),
    "bmp": Kind("image", "image/bmp"),
    "ico": Kind("image", "image/x-icon"),
    "svg": Kind("image", "image/svg+xml"),
    "md": Kind("markdown", "text/markdown; charset=utf-8"),
    "markdown": Kind("markdown", "text/markdown; charset=utf-8"),
    "html": Kind("html", "text/html; charset=utf-8"),
    "htm": Kind("html", "text/html; charset=utf-8"),
    "pdf": Kind("pdf", "application/pdf"),
}
_MAGIC = (
    (0, b"PAR1", "parquet"),
    (0, b"ARROW1\0\0", "arrow"),
    (8, b"DUCK", "duckdb"),
)
_ZIPPED = {"csv", "tsv", "json", "ndjson"}


def kind_of(name: str, head: bytes) -> Kind:
    """What the file called `name` is, whose content begins with `head` (HEAD bytes, or all of it)."""
    for at, magic, format in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return _table(format)
    *_, before, suffix = ("", "", *name.lower().split("."))
    if suffix == "gz":
        inner = "json" if before == "json" else _FORMATS.get(before)
        if inner in _ZIPPED:
            return Kind("table", "application/gzip", inner)
        return Kind("binary", "application/gzip")
    if suffix in _FORMATS:
        return _table(_FORMATS[suffix])
    if suffix in ("json", "geojson"):
        return Kind(_kind_of_json(head), "application/json", "json")
    if suffix in _SHOWN:
        return _SHOWN[suffix]
    return Kind("text", _TEXT) if _is_text(head) else Kind("binary", "application/octet-stream")


def kind_by_name(name: str) -> str:
    """The kind as far as the name tells it, for lists of many files; `file` when it does not."""
    *_, before, suffix = ("", "", *name.lower().split("."))
    if suffix in _FORMATS or (suffix == "gz" and (before == "json" or _FORMATS.get(before) in _ZIPPED)):
        return "table"
    if suffix in _SHOWN:
        return _SHOWN[suffix].kind
    if suffix in ("json", "geojson"):
        return "json"
    return "text" if suffix in _PLAIN else "file"


_PLAIN = {"txt", "log", "py", "ipynb", "sql", "toml", "yaml", "yml", "ini", "cfg", "xml", "js", "ts", "css", "sh", "r"}


def _table(format: str) -> Kind:
    return Kind("table", _MEDIA_TYPES[format], format)


def _kind_of_json(head: bytes) -> str:
    """A list of objects, or objects line by line, is a table; anything else is not."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return "table" if text[1:].lstrip().startswith(b"{") else "json"
    first, _, rest = text.partition(b"\n")
    if not rest.lstrip().startswith(b"{"):
        return "json"
    try:
        return "table" if isinstance(json.loads(first), dict) else "json"
    except (ValueError, RecursionError):
        return "json"


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end within a character; other encodings are shown as well as they can be.
        return error.start > len(head) - 4 or sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head) == 0
    return True
