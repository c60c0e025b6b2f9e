"""Every SQL statement of the ledger, by name. A transition names the states that it may leave.

`epoch` of a run is that of its last change, and `generation` 0 says that this machine made it; see merging.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

# -- runs -------------------------------------------------------------------------------------------------------

_EPOCH = "coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'epoch'), 0)"

INSERT_RUN = f"""
INSERT INTO runs (id, flow, group_name, version, status, trigger, source_root, source_path, params, key, due_at,
                  queued_at, retry_of, metadata, epoch)
VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, {_EPOCH})
ON CONFLICT (flow, key) WHERE key IS NOT NULL DO NOTHING
"""

RUN_BY_KEY = "SELECT id FROM runs WHERE flow = ? AND key = ?"

# The oldest due run of each flow that has any. The recursion hops from flow to flow in the index of queued runs, so
# the cost follows the number of flows, however many runs wait.
WAITING = """
WITH RECURSIVE waiting (flow) AS (
    SELECT min(flow) FROM runs INDEXED BY runs_queued WHERE status = 'queued'
    UNION ALL
    SELECT (SELECT min(flow) FROM runs INDEXED BY runs_queued WHERE status = 'queued' AND flow > waiting.flow)
    FROM waiting WHERE waiting.flow IS NOT NULL
)
SELECT id, runs.flow, group_name, version, source_root, source_path, params, metadata, summary, attempt, retry_of,
       trigger, queued_at
FROM waiting CROSS JOIN runs ON number = (
    SELECT number FROM runs INDEXED BY runs_queued WHERE status = 'queued' AND flow = waiting.flow AND due_at <= ?
    ORDER BY number LIMIT 1
)
ORDER BY number
"""

WAIT_FOR = "UPDATE runs SET waiting_for = ? WHERE id = ? AND status = 'queued' AND waiting_for IS NOT ?"

NEXT_DUE_TIME = "SELECT min(due_at) FROM runs WHERE status = 'queued' AND due_at > ?"

CLAIM_RUN = f"""
UPDATE runs SET status = ?, attempt = attempt + 1, token = ?, epoch = ?, generation = 0, worker = ?, environment = ?,
                started_at = coalesce(started_at, ?), finished_at = NULL, error = NULL, waiting_for = NULL
WHERE id = ? AND status = 'queued'
  AND ? >= {_EPOCH}
"""

RUN_RUNNING = """
UPDATE runs SET status = 'running' WHERE id = ? AND token = ? AND epoch = ? AND status = 'starting'
"""

FENCE = """
SELECT 1 FROM runs WHERE id = ? AND token = ? AND epoch = ? AND status IN ('starting', 'running', 'cancelling')
"""

END_RUN = """
UPDATE runs SET status = ?, finished_at = ?, error = ?, token = NULL
WHERE id = ? AND token = ? AND epoch = ? AND status IN ('starting', 'running', 'cancelling')
"""

NOTE_RUN = """
UPDATE runs SET metadata = coalesce(?, metadata), summary = coalesce(?, summary)
WHERE id = ? AND token = ?
"""

SET_METADATA = "UPDATE runs SET metadata = ? WHERE id = ?"

# Worker losses in a row: a step that succeeded since the run was last queued ends the row. Counted when one is lost,
# so that a step need not touch its run.
_LOSSES = """CASE WHEN EXISTS (SELECT 1 FROM step_runs WHERE run_id = runs.id AND step_runs.status = 'succeeded'
                  AND step_runs.finished_at >= due_at) THEN 0 ELSE losses END"""

REQUEUE_RUN = f"""
UPDATE runs SET status = 'queued', token = NULL, due_at = ?, losses = ? + {_LOSSES}
WHERE id = ? AND token = ? AND epoch = ? AND status IN ('starting', 'running')
"""

REQUEST_CANCEL = "UPDATE runs SET status = 'cancelling' WHERE id = ? AND status IN ('starting', 'running', 'waiting')"

CANCEL_IDLE = f"""
UPDATE runs SET status = 'cancelled', finished_at = ?, error = NULL, waiting_for = NULL, epoch = {_EPOCH},
                generation = 0
WHERE id = ? AND status IN ('queued', 'interrupted')
"""

RESUME_RUN = f"""
UPDATE runs SET status = 'queued', due_at = ?, losses = 0, finished_at = NULL, error = NULL, epoch = {_EPOCH},
                generation = 0
WHERE id = ? AND status = 'interrupted'
"""

ABANDONED = "SELECT id, status, worker, flow FROM runs WHERE status IN ('starting', 'running', 'cancelling')"

ABANDON_RUN = f"""
UPDATE runs SET status = ?, finished_at = ?, token = NULL, error = ?, epoch = {_EPOCH}, generation = 0
WHERE id = ? AND status IN ('starting', 'running', 'cancelling')
"""

RUN_COLUMNS = """number, id, flow, version, status, trigger, source_root, source_path, attempt, params, key,
queued_at, started_at, finished_at, summary, metadata, error, retry_of, environment, waiting_for"""

RUN_BY_ID = f"SELECT {RUN_COLUMNS} FROM runs WHERE id = ?"
RUNS_BY_ID = f"SELECT {RUN_COLUMNS} FROM runs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY number"
RUN_FILTERS = {"flow": "flow = ?", "status": "status = ?", "before": "number < ?"}
VERSIONS_IN_USE = """
SELECT flows.version FROM flows JOIN runs ON number = (
    SELECT max(number) FROM runs INDEXED BY runs_by_flow WHERE flow = flows.name
) WHERE queued_at > ? ORDER BY number DESC LIMIT ?
"""
RUNS_BY_ID_PART = "SELECT id FROM runs WHERE id >= ? AND id < ? LIMIT 3"
RUNS_BY_ID_END = "SELECT id FROM runs WHERE id LIKE ? ESCAPE '\\' LIMIT 3"
RUN_SOURCE = "SELECT flow, source_root FROM runs WHERE id = ?"
SOURCE_ROOTS = "SELECT DISTINCT source_root FROM runs WHERE source_root IS NOT NULL"
RUN_LOSSES = f"SELECT {_LOSSES} FROM runs WHERE id = ?"

OPEN_RUNS = """
SELECT id FROM runs WHERE status IN (SELECT value FROM json_each(?)) AND (? IS NULL OR +flow = ?) ORDER BY number
"""


# The runs of this machine that the latest events tell the end of.
LATELY_ENDED = f"""
SELECT {RUN_COLUMNS} FROM runs
WHERE id IN (SELECT id FROM (SELECT kind, id FROM events ORDER BY seq DESC LIMIT ?) WHERE kind = 'run')
  AND status IN ('succeeded', 'failed', 'rejected', 'cancelled') AND generation = 0
"""


def newest_runs(filters: Mapping[str, object]) -> str:
    """Runs, newest first, that pass the filters (names in RUN_FILTERS, a parameter each); the last one is the limit."""
    conditions = " AND ".join(RUN_FILTERS[name] for name in filters)
    if filters.get("status", "succeeded") != "succeeded":
        # Few runs are in any other status: the plus keeps SQLite from going through all runs of the flow instead.
        conditions = conditions.replace("flow =", "+flow =")
    return f"SELECT {RUN_COLUMNS} FROM runs {conditions and f'WHERE {conditions}'} ORDER BY number DESC LIMIT ?"


# -- steps ------------------------------------------------------------------------------------------------------

START_STEP = """
INSERT INTO step_runs (run_id, step, attempt, status, started_at) VALUES (?, ?, ?, 'running', ?)
"""

FINISH_STEP = """
UPDATE step_runs SET status = ?, started_at = coalesce(?, started_at), finished_at = ?, output_kind = ?,
                     output_path = ?, rows = ?, checkpoint = ?, error = ?
WHERE run_id = ? AND step = ? AND attempt = ? AND status = 'running'
  AND EXISTS (SELECT 1 FROM runs WHERE id = ? AND token = ? AND epoch = ? AND status IN ('running', 'cancelling'))
"""

STEP_ITEMS = """
UPDATE step_runs SET items_total = ?, items_done = ?, items_failed = ?
WHERE run_id = ? AND step = ? AND attempt = ? AND status = 'running'
"""

CLOSE_OPEN_STEPS = """
UPDATE step_runs SET status = ?, finished_at = ?, error = coalesce(?, error)
WHERE run_id = ? AND status = 'running' RETURNING step, attempt
"""

COPY_STEP = """
INSERT INTO step_runs (run_id, step, attempt, status, started_at, finished_at, output_kind, output_path, rows,
                       items_total, items_done, items_failed, checkpoint)
SELECT ?, step, 1, status, started_at, finished_at, output_kind, output_path, rows, items_total, items_done,
       items_failed, checkpoint
FROM step_runs WHERE run_id = ? AND step = ? AND attempt = ?
"""

# A step about to run again takes the steps after it along: what they gave came from its earlier output.
SUPERSEDE_STEPS = """
UPDATE step_runs SET status = 'superseded' WHERE run_id = ? AND step >= ? AND status = 'succeeded'
RETURNING step, attempt
"""

DROP_CHECKPOINT = "UPDATE step_runs SET checkpoint = NULL WHERE run_id = ? AND step = ?"

STEP_RUNS = """
SELECT run_id, step, attempt, status, started_at, finished_at, output_kind, output_path, rows, items_total,
       items_done, items_failed, checkpoint, error
FROM step_runs WHERE run_id = ? ORDER BY step, attempt
"""

STEP_RUNS_OF = """
SELECT run_id, step, attempt, status, started_at, finished_at, output_kind, output_path, rows, items_total,
       items_done, items_failed, NULL, error
FROM step_runs WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY run_id, step, attempt
"""

STEP_RUN = """
SELECT run_id, step, attempt, status, started_at, finished_at, output_kind, output_path, rows, items_total,
       items_done, items_failed, NULL, error
FROM step_runs WHERE run_id = ? AND step = ? AND attempt = ?
"""

# Which of these paths a step has given out.
OUTPUTS_ON_RECORD = """
SELECT DISTINCT output_path FROM step_runs WHERE output_path IN (SELECT value FROM json_each(?))
"""

# -- items ------------------------------------------------------------------------------------------------------

PUT_ITEM = """
INSERT INTO items (run_id, step, item, status, duration_us, value, file, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, step, item) DO UPDATE SET status = excluded.status, duration_us = excluded.duration_us,
    value = excluded.value, file = excluded.file, error = excluded.error
"""

CLEAR_ITEMS = "DELETE FROM items WHERE run_id = ? AND step >= ?"

ITEMS = """
SELECT item, status, value, file, error, duration_us FROM items WHERE run_id = ? AND step = ? ORDER BY item
"""

FAILED_ITEMS = """
SELECT item, status, value, file, error, duration_us FROM items
WHERE run_id = ? AND step = ? AND status != 'succeeded' ORDER BY item LIMIT ?
"""

COPY_ITEMS = """
INSERT INTO items (run_id, step, item, status, duration_us, value, file, error)
SELECT ?, step, item, status, duration_us, value, file, error FROM items
WHERE run_id = ? AND step <= ? AND status = 'succeeded'
"""

# -- artifacts --------------------------------------------------------------------------------------------------

PUT_ARTIFACT = """
INSERT INTO artifacts (run_id, path, step, name, kind, info, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, path) DO UPDATE SET step = excluded.step, name = excluded.name, kind = excluded.kind,
    info = excluded.info, created_at = excluded.created_at
"""

DROP_ARTIFACTS = "DELETE FROM artifacts WHERE run_id = ? AND step >= ? RETURNING path, info"

ARTIFACTS = """
SELECT run_id, name, kind, path, step, info FROM artifacts
WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY created_at, path
"""

# -- files ------------------------------------------------------------------------------------------------------

# A resumed run keeps the signatures of its first attempt: the steps it does not repeat read those files.
PUT_RUN_FILE = """
INSERT INTO run_files (run_id, path, size, mtime_ns) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

HAS_RUN_FILES = "SELECT 1 FROM run_files WHERE run_id = ? LIMIT 1"

RECORD_FILES = f"""
INSERT INTO file_state (flow, root, path, size, mtime_ns, status, run_id, recorded_at, epoch)
SELECT ?, ?, path, size, mtime_ns, ?, run_id, ?, {_EPOCH} FROM run_files WHERE run_id = ?
ON CONFLICT (flow, root, path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
    status = excluded.status, run_id = excluded.run_id, recorded_at = excluded.recorded_at,
    epoch = excluded.epoch, generation = 0
"""

DROP_RUN_FILES = "DELETE FROM run_files WHERE run_id = ?"

FILE_STATE = "SELECT path, size, mtime_ns, status FROM file_state WHERE flow = ? AND root = ?"

FILE_STATE_OF = """
SELECT file_state.path, size, mtime_ns, status FROM json_each(?) CROSS JOIN file_state ON file_state.path = value
WHERE flow = ? AND file_state.root = ?
"""

FILE_ROOTS = "SELECT DISTINCT root FROM file_state"
RENAME_RUN_ROOT = "UPDATE runs SET source_root = ? WHERE source_root = ?"
RENAME_FILE_ROOT = "UPDATE OR REPLACE file_state SET root = ? WHERE root = ?"

SOURCES_AHEAD = """
SELECT source_path, status != 'queued' OR attempt > 0 FROM runs
WHERE status IN (SELECT value FROM json_each(?)) AND +flow = ? AND source_root = ?
"""

INTERRUPTED_FILES = """
SELECT path, size, mtime_ns FROM runs JOIN run_files ON run_id = id
WHERE status = 'interrupted' AND +flow = ? AND source_root = ? ORDER BY number
"""

# -- schedules --------------------------------------------------------------------------------------------------

PUT_SCHEDULE = """
INSERT INTO schedules (flow, trigger, considered_until) VALUES (?, ?, ?)
ON CONFLICT (flow) DO UPDATE SET trigger = excluded.trigger, considered_until = excluded.considered_until
"""

SCHEDULE = "SELECT trigger, considered_until FROM schedules WHERE flow = ?"

# Keys of slots sort by time: `slot:2026-03-29T01:30:00.000Z:<trigger>`, for runs of single files with their path.
NEWEST_SLOT = """
SELECT substr(key, 6, 24) FROM runs
WHERE flow = ? AND key >= 'slot:' AND key < 'slot;' AND substr(key, 31, 12) = ? ORDER BY key DESC LIMIT 1
"""

SLOT_WAITS = """
SELECT 1 FROM runs INDEXED BY runs_queued WHERE status = 'queued' AND flow = ? AND attempt = 0 AND trigger = 'schedule'
LIMIT 1
"""

# -- flows ------------------------------------------------------------------------------------------------------

PUT_VERSION = """
INSERT INTO flow_versions (digest, flow, spec, recorded_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

PUT_FLOW = """
INSERT INTO flows (name, group_name, version, changed_at) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET group_name = excluded.group_name, version = excluded.version,
    changed_at = excluded.changed_at
WHERE flows.version != excluded.version
"""

VERSION_SPEC = "SELECT spec FROM flow_versions WHERE digest = ?"

# -- events, meta, retention ------------------------------------------------------------------------------------

PUT_EVENT = "INSERT INTO events (seq, at, kind, id, change) VALUES (?, ?, ?, ?, ?)"
LAST_EVENT = "SELECT coalesce(max(seq), 0) FROM events"
FIRST_EVENT = "SELECT coalesce(min(seq), 0) FROM events"
EVENTS_AFTER = "SELECT seq, at, kind, id, change FROM events WHERE seq > ? ORDER BY seq LIMIT ?"

GET_META = "SELECT value FROM meta WHERE key = ?"
PUT_META = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

DROP_META = "DELETE FROM meta WHERE key = ?"

EXPIRED_RUNS = """
SELECT id FROM runs
WHERE status IN ('succeeded', 'failed', 'rejected', 'cancelled') AND (finished_at < ? OR number <= ?)
ORDER BY number LIMIT ?
"""
NEWEST_NUMBER = "SELECT coalesce(max(number), 0) FROM runs"
FORGET_RUN = (
    "DELETE FROM items WHERE run_id = ?",
    "DELETE FROM step_runs WHERE run_id = ?",
    "DELETE FROM artifacts WHERE run_id = ?",
    "DELETE FROM run_files WHERE run_id = ?",
    "DELETE FROM runs WHERE id = ?",
)
# The newest event always stays, so that a number is never given twice.
FORGET_EVENTS = "DELETE FROM events WHERE at < ? AND seq < (SELECT max(seq) FROM events)"

# -- what pages show --------------------------------------------------------------------------------------------

# Ids of runs begin with their time, so the index of ids counts what came since a moment.
RUNS_SINCE = "SELECT count(*) FROM runs WHERE id >= ?"

# The plus keeps SQLite from going through the runs in their order until one fits.
NUMBERS_SINCE = "SELECT coalesce(min(+number), 0) FROM runs WHERE id >= ?"
NUMBERS_UNTIL = "SELECT coalesce(max(+number), 0) FROM runs WHERE id < ?"

QUEUED_BY_FLOW = "SELECT flow, count(*) FROM runs INDEXED BY runs_queued WHERE status = 'queued' GROUP BY flow"

NEWEST_OF_FLOWS = """
SELECT flow, number, runs.id, status, started_at, finished_at
FROM json_each(?) AS wanted CROSS JOIN runs ON number IN (
    SELECT number FROM runs INDEXED BY runs_by_flow WHERE flow = wanted.value ORDER BY number DESC LIMIT ?
)
"""

OUTCOMES = """
SELECT number, queued_at, summary, error FROM runs WHERE number IN (SELECT value FROM json_each(?))
"""

NEWEST_IN = """
SELECT number, id FROM runs WHERE status = ? ORDER BY number DESC LIMIT ?
"""
COUNT_IN = "SELECT count(*) FROM (SELECT 1 FROM runs WHERE status = ? LIMIT ?)"

SEARCH_FILTERS = {
    "flow": "flow = ?",
    "statuses": "status IN (SELECT value FROM json_each(?))",
    "group": "group_name = ?",
    "trigger": "trigger = ?",
    "since": "queued_at >= ?",
    "until": "queued_at < ?",
    "text": "(id LIKE ?1 ESCAPE '\\' OR source_path LIKE ?1 ESCAPE '\\' OR summary LIKE ?1 ESCAPE '\\')",
}


COUNT_RUNS = "SELECT count(*) FROM runs"


def search_runs(filters: Collection[str], *, counted: bool = False) -> str:
    """Runs whose number is from ? to below ?, newest first, that pass the filters (names in SEARCH_FILTERS).

    The parameters are the text, the two numbers, a value for each of the other filters in their order, the limit, and
    how many to leave out before it.
    """
    # The text is the first parameter wherever it stands; without one, something has to stand in its place.
    conditions = " AND ".join(SEARCH_FILTERS[name] for name in filters) or "1"
    found = f"FROM runs WHERE ?1 IS NOT NULL AND number >= ?2 AND number < ?3 AND {conditions}"
    if counted:
        return f"SELECT count(*) FROM (SELECT 1 {found} LIMIT ? OFFSET ?)"
    return f"SELECT {RUN_COLUMNS} {found} ORDER BY number DESC LIMIT ? OFFSET ?"


# Of the same flow, the last one before a run and the first one after it.
RUN_BEFORE = f"SELECT {RUN_COLUMNS} FROM runs WHERE flow = ? AND number < ? ORDER BY number DESC LIMIT 1"
RUN_AFTER = f"SELECT {RUN_COLUMNS} FROM runs WHERE flow = ? AND number > ? ORDER BY number LIMIT 1"

STEP_ATTEMPTS = """
SELECT step, attempt, status, started_at, finished_at, output_kind, output_path, rows, items_total, items_done,
       items_failed, error, checkpoint IS NOT NULL
FROM step_runs WHERE run_id = ? ORDER BY step, attempt
"""

STEP_DURATIONS = """
SELECT step, finished_at - started_at FROM step_runs
WHERE run_id IN (SELECT value FROM json_each(?)) AND status = 'succeeded' AND started_at IS NOT NULL
"""

STEP_COUNTS = "SELECT items_total, items_done, items_failed FROM step_runs WHERE run_id = ? AND step = ?"

# `= 'succeeded'` is 0 for those that failed or were left out.
ITEM_PAGE = """
SELECT item, status, duration_us, error FROM items
WHERE run_id = ? AND step = ? AND (status = 'succeeded') = ? AND item > ? ORDER BY item LIMIT ?
"""

VERSIONS_OF_FLOW = "SELECT digest, recorded_at FROM flow_versions WHERE flow = ? ORDER BY recorded_at DESC"
VERSION_USES = """
SELECT version, count(*) FROM (
    SELECT version FROM runs INDEXED BY runs_by_flow WHERE flow = ? ORDER BY number DESC LIMIT ?
) GROUP BY version
"""

FILE_RUNS = "SELECT path, size, mtime_ns, status, run_id FROM file_state WHERE flow = ? AND root = ?"
SOURCE_RUNS = """
SELECT source_path, status, id FROM runs
WHERE status IN (SELECT value FROM json_each(?)) AND +flow = ? AND source_root = ? ORDER BY number
"""

# -- published state --------------------------------------------------------------------------------------------

PUBLISHED_RUN = (
    *("id", "flow", "group_name", "version", "status", "trigger", "source_root", "source_path", "attempt", "losses"),
    *("params", "key", "due_at", "queued_at", "started_at", "finished_at", "summary", "metadata", "error", "retry_of"),
    "epoch",
)
PUBLISHED_STEP = (
    *("run_id", "step", "attempt", "status", "started_at", "finished_at", "output_kind", "output_path", "rows"),
    *("items_total", "items_done", "items_failed", "error"),
)
PUBLISHED_FILE = ("flow", "root", "path", "size", "mtime_ns", "status", "run_id", "recorded_at", "epoch")


def _columns(names: tuple[str, ...]) -> str:
    return ", ".join(names)


_OF_THESE = "IN (SELECT value FROM json_each(?))"

# Those of these runs that this machine changed last: what was merged from others is published already.
RUNS_TO_PUBLISH = f"SELECT {_columns(PUBLISHED_RUN)} FROM runs WHERE id {_OF_THESE} AND generation = 0 ORDER BY number"
STEPS_TO_PUBLISH = f"SELECT {_columns(PUBLISHED_STEP)} FROM step_runs WHERE run_id {_OF_THESE}"
PUBLISHED_ARTIFACTS = f"""
SELECT run_id, path, step, name, kind, info, created_at FROM artifacts WHERE run_id {_OF_THESE}
ORDER BY created_at, path
"""
RUN_FILES = f"SELECT run_id, path, size, mtime_ns FROM run_files WHERE run_id {_OF_THESE}"
VERSION_SPECS = f"SELECT digest, spec FROM flow_versions WHERE digest {_OF_THESE}"
FILES_OF_RUN = f"SELECT {_columns(PUBLISHED_FILE)} FROM file_state WHERE flow = ? AND root = ? AND run_id = ?"
FILE_OF_RUN = f"{FILES_OF_RUN} AND path = ?"
RUNS_KNOWN = f"SELECT id FROM runs WHERE id {_OF_THESE}"
RUNS_OF_OTHERS = f"{RUNS_KNOWN} AND generation > 0"

MERGED_RUNS = f"SELECT id, epoch, generation, status FROM runs WHERE id {_OF_THESE}"
MERGED_STEPS = f"SELECT {_columns(PUBLISHED_STEP)}, checkpoint FROM step_runs WHERE run_id {_OF_THESE}"

MERGE_RUN = f"""
INSERT INTO runs ({_columns(PUBLISHED_RUN)}, generation) VALUES ({", ".join("?" * len(PUBLISHED_RUN))}, ?)
ON CONFLICT (id) DO UPDATE SET token = NULL, generation = excluded.generation,
    {", ".join(f"{name} = excluded.{name}" for name in PUBLISHED_RUN[1:])}
"""
MERGE_STEP = f"""
INSERT INTO step_runs ({_columns(PUBLISHED_STEP)}, checkpoint) VALUES ({", ".join("?" * len(PUBLISHED_STEP))}, ?)
"""
MERGE_FILE = f"""
INSERT INTO file_state ({_columns(PUBLISHED_FILE)}, generation) VALUES ({", ".join("?" * len(PUBLISHED_FILE))}, ?)
ON CONFLICT (flow, root, path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
    status = excluded.status, run_id = excluded.run_id, recorded_at = excluded.recorded_at,
    epoch = excluded.epoch, generation = excluded.generation
WHERE excluded.epoch > file_state.epoch
   OR (excluded.epoch = file_state.epoch AND excluded.generation > file_state.generation
       AND NOT (file_state.generation = 0 AND ?))
"""
DROP_STEPS = "DELETE FROM step_runs WHERE run_id = ?"
DROP_RUN_ARTIFACTS = "DELETE FROM artifacts WHERE run_id = ?"
DROP_ITEMS = "DELETE FROM items WHERE run_id = ? AND step = ?"

KEEP_RUN = "UPDATE runs SET generation = 0 WHERE id = ?"
LIFT_KEPT = f"UPDATE runs SET epoch = ? WHERE id {_OF_THESE} AND generation = 0 RETURNING id, status"
RUN_OF_KEY = "SELECT id, epoch, generation, status FROM runs WHERE flow = ? AND key = ? AND id != ?"
DROP_KEY = "UPDATE runs SET key = NULL, generation = 0 WHERE id = ?"
CANCEL_RIVAL = """
UPDATE runs SET status = 'cancelled', finished_at = ?, error = ?, token = NULL, key = NULL, generation = 0
WHERE id = ?
"""
