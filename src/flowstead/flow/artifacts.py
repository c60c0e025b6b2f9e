"""What a run keeps to be looked at: frames as Parquet, values as JSON, figures, images and reports.

Each is written to a temporary file beside its place and moved there, so that whoever looks finds a whole one or none.
Libraries are recognised by where an object's class comes from; none is imported before an object of its own arrives.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.flow.errors import ArtifactRefused

if TYPE_CHECKING:
    from flowstead.flow.context import Sink

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_SVG = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL)
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]+')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}

Write = Callable[[Path], object]


class Artifacts:
    """`context.debug`: keeps values with the run, out of the flow's way, to be looked at later.

    In a preview everything is checked and nothing is written.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._taken: dict[str, int] | None = None

    def save_frame(self, frame: Any, name: str | None = None, info: Mapping[str, Any] | None = None) -> Path | None:
        """Keeps a Polars, pandas or Arrow frame or a DuckDB relation as Parquet; a lazy frame is computed.

        `info`: JSON-able notes shown with it, beside its `rows` and `columns`. Returns the file's path (None in a
        preview). Raises ArtifactRefused (`frame-unsupported`), a TypeError, for anything else.
        """
        notes = _notes(info)
        write = _frame(frame)
        if write is None:
            raise ArtifactRefused(
                f"save_frame(name={name!r}) was given {_named(frame)}, not a data frame.",
                code="frame-unsupported",
                hint="Give a Polars, pandas or Arrow frame or a DuckDB relation; save_json takes plain values.",
            )
        return self._keep(name, "frame", ".parquet", write, notes)

    def save_json(self, value: Any, name: str | None = None, info: Mapping[str, Any] | None = None) -> Path | None:
        """Keeps a value as JSON: numbers that JSON lacks (nan, inf) become null, dates and paths become text.

        `info`: JSON-able notes shown with it. Returns the file's path (None in a preview). Raises ArtifactRefused
        (`json-unsupported`), a TypeError, for a value of another kind.
        """
        notes = _notes(info)
        content = json.dumps(_plain(value, f"save_json(name={name!r})"), indent=2, ensure_ascii=False)
        return self._keep_text(name, "json", ".json", content, notes)

    def report(self, markdown: str, name: str = "report") -> Path | None:
        """Keeps a Markdown text; returns the file's path (None in a preview)."""
        if not isinstance(markdown, str):
            raise ArtifactRefused(
                f"report(markdown) was given {_named(markdown)}.", code="report-not-text", hint="Give a Markdown text."
            )
        return self._keep_text(name, "report", ".md", markdown, {})

    def show(self, obj: Any, name: str | None = None) -> Path | None:
        """Keeps something to look at; see `FlowContext.show`."""
        write = _frame(obj)
        if write is not None:
            return self._keep(name, "frame", ".parquet", write, {})
        image = _image(obj)
        if image is not None:
            return self._keep(name, "image", *image, {})
        library = _library(obj)
        if library == "matplotlib" or (library == "seaborn" and hasattr(obj, "savefig")):
            figure = obj if hasattr(obj, "savefig") else getattr(obj, "figure", None)
            if hasattr(figure, "savefig"):
                return self._keep(name, "figure", ".png", _png_of(figure), {})
        if library == "altair" and hasattr(obj, "to_json"):
            return self._keep_chart(name, ".vl.json", obj.to_json(), lambda: obj.to_html())
        if library == "plotly" and hasattr(obj, "to_json"):
            return self._keep_chart(name, ".plotly.json", obj.to_json(), lambda: obj.to_html(include_plotlyjs=True))
        raise ArtifactRefused(
            f"show(obj) was given {_named(obj)}, which cannot be shown.",
            code="show-unsupported",
            hint="Give a matplotlib, Altair or Plotly figure, a PIL image, PNG or SVG bytes, or a data frame.",
        )

    def _keep_chart(self, name: str | None, ending: str, spec: str, page: Callable[[], str]) -> Path | None:
        try:
            html = page()
        except Exception:
            html = None  # the page is a courtesy: its renderer may be missing, and the chart itself is kept
        path = self._reserve(name or "figure", ending)
        if path is None:
            return None
        info = {}
        if html is not None:
            beside = path.with_name(path.name.removesuffix(ending) + ".html")
            _replace(beside, lambda part: part.write_text(html, encoding="utf-8"))
            info["html"] = beside.name
        return self._record(path, ending, "figure", lambda part: part.write_text(spec, encoding="utf-8"), info)

    def _keep_text(self, name: str | None, kind: str, ending: str, content: str, info: dict[str, Any]) -> Path | None:
        content = content.encode("utf-8", "replace").decode("utf-8")
        return self._keep(
            name, kind, ending, lambda part: part.write_text(content, encoding="utf-8", newline="\n"), info
        )

    def _keep(self, name: str | None, kind: str, ending: str, write: Write, info: dict[str, Any]) -> Path | None:
        path = self._reserve(name or kind, ending)
        return None if path is None else self._record(path, ending, kind, write, info)

    def _record(self, path: Path, ending: str, kind: str, write: Write, info: dict[str, Any]) -> Path:
        facts = _replace(path, write)
        if isinstance(facts, dict):
            info = facts | info
        self._sink.artifact(path.name.removesuffix(ending), kind, path, info)
        return path

    def _reserve(self, name: str, ending: str) -> Path | None:
        """A path for `name` that no artifact of the run has, whatever its ending; None when nothing is kept."""
        folder = self._sink.artifacts_dir
        if folder is None:
            return None
        safe = _safe(name)
        with self._lock:  # threads of a map save at the same time
            if self._taken is None:
                folder.mkdir(parents=True, exist_ok=True)
                # What earlier attempts of the run have kept stays.
                self._taken = {entry.name.partition(".")[0].casefold(): 1 for entry in os.scandir(folder)}
            chosen = safe
            while chosen.casefold() in self._taken:
                self._taken[safe.casefold()] = number = self._taken.get(safe.casefold(), 1) + 1
                chosen = f"{safe}_{number}"
            self._taken[chosen.casefold()] = 1
        return folder / f"{chosen}{ending}"


def _safe(name: object) -> str:
    """`name` as a file name on every system: no separators, control characters, dots or device names."""
    text = _UNSAFE.sub("_", str(name)).replace(".", "_").strip(" _") or "artifact"
    text = text[:60].rstrip()
    return f"{text}_" if text.casefold() in _DEVICES else text


def _replace(path: Path, write: Write) -> object:
    part = path.with_name(f".{path.name}.part")
    try:
        written = write(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return written


def _named(obj: object) -> str:
    if obj is None:
        return "None"
    kind = type(obj)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _library(obj: object) -> str:
    """The library that the object's class, or one it derives from, was defined in."""
    for kind in type(obj).__mro__:
        root = kind.__module__.partition(".")[0].lstrip("_")
        if root in ("polars", "pandas", "pyarrow", "duckdb", "matplotlib", "seaborn", "altair", "plotly", "PIL"):
            return root
    return ""


def _frame(obj: Any) -> Write | None:
    """What writes `obj` as Parquet and returns its `rows` and `columns`; None when it is no frame."""
    library = _library(obj)
    if library == "polars" and (hasattr(obj, "write_parquet") or hasattr(obj, "collect_schema")):
        return lambda path: _write_polars(obj, path)
    if library == "pandas" and hasattr(obj, "to_parquet"):
        return lambda path: _write_pandas(obj, path)
    if library == "pyarrow" and hasattr(obj, "num_rows") and hasattr(obj, "num_columns"):
        return lambda path: _write_arrow(obj, path)
    if library == "duckdb" and hasattr(obj, "write_parquet"):
        return lambda path: _write_relation(obj, path)
    return None


def _write_polars(frame: Any, path: Path) -> dict[str, Any]:
    whole = frame if hasattr(frame, "write_parquet") else frame.collect()
    whole.write_parquet(path)
    return {"rows": whole.height, "columns": whole.width}


def _write_pandas(frame: Any, path: Path) -> dict[str, Any]:
    frame.to_parquet(path)
    return {"rows": len(frame), "columns": len(frame.columns)}


def _write_arrow(table: Any, path: Path) -> dict[str, Any]:
    import pyarrow
    import pyarrow.parquet

    whole = table if isinstance(table, pyarrow.Table) else pyarrow.Table.from_batches([table])
    pyarrow.parquet.write_table(whole, path)
    return {"rows": whole.num_rows, "columns": whole.num_columns}


def _write_relation(relation: Any, path: Path) -> dict[str, Any]:
    import duckdb

    relation.write_parquet(str(path))
    # Counted in the file: to ask the relation would compute it a second time.
    with duckdb.connect() as connection:
        counted = connection.execute("select sum(num_rows) from parquet_file_metadata(?)", [str(path)]).fetchone()
    return {"rows": int(counted[0]) if counted else 0, "columns": len(relation.columns)}


def _png_of(figure: Any) -> Write:
    return lambda path: figure.savefig(path, format="png", dpi=150, bbox_inches="tight")


def _image(obj: Any) -> tuple[str, Write] | None:
    """The file ending and how to write an image given as bytes, SVG text or a PIL image; None for anything else."""
    if isinstance(obj, bytes | bytearray | memoryview):
        content = bytes(obj)
        ending = ".png" if content.startswith(_PNG) else ".jpg" if content.startswith(_JPEG) else None
        if ending is None and _SVG.match(content.decode("utf-8-sig", "ignore")):
            ending = ".svg"
        return None if ending is None else (ending, lambda path: path.write_bytes(content))
    if _library(obj) == "PIL" and hasattr(obj, "save"):
        return ".png", lambda path: obj.save(path, format="PNG")
    if isinstance(obj, str) and _SVG.match(obj):
        return ".svg", lambda path: path.write_text(obj, encoding="utf-8")
    return None


def _notes(info: Mapping[str, Any] | None) -> dict[str, Any]:
    if info is None:
        return {}
    if not isinstance(info, Mapping):
        raise ArtifactRefused(
            f"info= was given {_named(info)}.", code="info-not-mapping", hint='Give a dict, such as {"stage": "raw"}.'
        )
    return _plain(info, "info=")


def _plain(value: Any, argument: str) -> Any:
    """`value` with nothing in it that JSON lacks. Raises ArtifactRefused (`json-unsupported`)."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item, argument) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, argument) for item in value]
    if isinstance(value, set | frozenset):
        return [_plain(item, argument) for item in sorted(value, key=repr)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for convert in ("isoformat", "tolist", "as_dict"):  # dates and times; numpy; records of their own accord
        if hasattr(value, convert):
            return _plain(getattr(value, convert)(), argument)
    if type(value).__module__ in ("decimal", "uuid", "fractions", "datetime"):
        return str(value)
    raise ArtifactRefused(
        f"{argument} holds {_named(value)}, which JSON has no form for.",
        code="json-unsupported",
        hint="Give dicts, lists, texts, numbers, dates and paths; save_frame takes data frames.",
    )
