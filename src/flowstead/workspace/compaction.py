"""Compaction: many narrow segments become a wide one, so that whoever comes new reads few files.

It is a log-structured merge: as soon as FANOUT neighbours of one tier are there, they become one file of the next. So
every row is written again once for each tier, however long the history. The wide file is put first and the narrow ones
are removed after it; what a crash leaves of them is covered by it, and removed the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from flowstead.model.run import ENDED, supersedes
from flowstead.workspace.segments import SPINE, TABLES, Gap, Range, Row, Segment, Segments

FANOUT = 16

_RUN = {name: position for position, name in enumerate(TABLES[SPINE])}
_FILES, _SPEC, _VERSION, _STATUS = (_RUN[name] for name in ("files", "spec", "version", "status"))
_EPOCH, _GENERATION = _RUN["epoch"], _RUN["generation"]

Known = Callable[[list[str]], set[str]]
"""Which of these runs are still to be kept."""


def covered(ranges: Iterable[Range]) -> list[Range]:
    """Ranges that lie within a wider one: leftovers of a compaction that was cut short."""
    widest: list[Range] = []
    left: list[Range] = []
    for each in sorted(set(ranges), key=lambda each: (each.first, -each.last, -each.epoch)):
        if widest and each.last <= widest[-1].last:
            left.append(each)
        else:
            widest.append(each)
    return left


def next_group(ranges: Iterable[Range], gaps: Iterable[Gap]) -> list[Range]:
    """The neighbours of one tier that are to become one file, of the lowest tier that has any; empty when none are.

    What overlaps one of the `gaps` is left as it is until it is healed.
    """
    broken = list(gaps)
    whole = [each for each in ranges if not any(each.first <= gap.last and gap.first <= each.last for gap in broken)]
    left = set(covered(whole))
    groups: dict[int, list[Range]] = {}
    for each in sorted(set(whole) - left, key=lambda each: each.first):
        tier = _tier(each)
        group = groups.setdefault(tier, [])
        if len(group) == FANOUT:
            continue
        if group and group[-1].last + 1 != each.first:
            group.clear()
        group.append(each)
    for tier in sorted(groups):
        if len(groups[tier]) == FANOUT:
            return groups[tier]
    return []


def _tier(each: Range) -> int:
    width, tier = each.last - each.first + 1, 0
    while width >= FANOUT:
        width //= FANOUT
        tier += 1
    return tier


def compact(segments: Segments, group: Sequence[Range], epoch: int, known: Known) -> Range | None:
    """Puts one file of the owner of `epoch` in the place of a group; returns its range.

    None when a segment of it is not whole. Drops the runs that are not `known` any more. Raises StorageError.
    """
    loaded: list[Segment] = []
    for each in group:
        try:
            segment = segments.load(each)
        except ValueError:
            return None
        if segment is None or segment.gaps:
            return None
        loaded.append(segment)
    wide = Range(epoch, group[0].first, group[-1].last)
    segments.write(wide, merged(loaded, known))
    if not is_whole(segments, wide):
        return None
    for each in group:
        if each != wide:
            segments.remove(each)
    return wide


def is_whole(segments: Segments, where: Range) -> bool:
    """Whether a segment reads back. Raises StorageError."""
    try:
        segment = segments.load(where)
    except ValueError:
        return False
    return segment is not None and not segment.gaps


def merged(loaded: Iterable[Segment], known: Known) -> dict[str, list[Row]]:
    """The tables of segments, given in order, as one: each run and each file once, log lines all."""
    runs: dict[str, Row] = {}
    read_files: dict[str, str] = {}
    specs: dict[str, str] = {}
    steps: dict[tuple[str, int], list[Row]] = {}
    lines: dict[tuple[str, int], Row] = {}
    files: dict[tuple[str, str, str], Row] = {}
    for segment in loaded:
        for row in segment.tables[SPINE]:
            if row[_SPEC] is not None:
                specs.setdefault(row[_VERSION], row[_SPEC])
            if row[_FILES] is not None:
                read_files[row[0]] = row[_FILES]
            before = runs.get(row[0])
            if before is None or supersedes(_version(row), row[_STATUS], _version(before), before[_STATUS]):
                runs[row[0]] = row
        for row in segment.tables.get("step_runs", ()):
            steps.setdefault((row[0], row[-1]), []).append(row)
        for row in segment.tables.get("logs", ()):
            lines[row[0], row[1]] = row
        for row in segment.tables.get("file_state", ()):
            before = files.get(row[:3])
            if before is None or row[-2:] > before[-2:]:
                files[row[:3]] = row
    kept = known(list(runs))
    rows: list[Row] = []
    for run_id in sorted(kept & runs.keys()):
        row = list(runs[run_id])
        row[_FILES] = None if row[_STATUS] in ENDED else read_files.get(run_id)
        row[_SPEC] = specs.pop(row[_VERSION], None)
        rows.append(tuple(row))
    return {
        SPINE: rows,
        # A run is published whole: its steps are those of the generation that stands.
        "step_runs": [each for row in rows for each in steps.get((row[0], row[_GENERATION]), ())],
        "logs": [lines[each] for each in sorted(lines) if each[0] in kept],
        "file_state": [files[each] for each in sorted(files)],
    }


def _version(row: Row) -> tuple[int, int]:
    return row[_EPOCH], row[_GENERATION]
