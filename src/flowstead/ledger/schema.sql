CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE flows (
    name       TEXT PRIMARY KEY,
    group_name TEXT NOT NULL,
    version    TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE flow_versions (
    digest      TEXT PRIMARY KEY,
    flow        TEXT NOT NULL,
    spec        TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
    number       INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    flow         TEXT NOT NULL,
    group_name   TEXT NOT NULL,
    version      TEXT NOT NULL,
    status       TEXT NOT NULL,
    trigger      TEXT NOT NULL,
    source_root  TEXT,
    source_path  TEXT,
    attempt      INTEGER NOT NULL DEFAULT 0,
    losses       INTEGER NOT NULL DEFAULT 0,
    token        TEXT,
    epoch        INTEGER NOT NULL DEFAULT 0,
    worker       TEXT,
    params       TEXT NOT NULL DEFAULT '{}',
    key          TEXT,
    due_at       INTEGER NOT NULL,
    queued_at    INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER,
    summary      TEXT,
    metadata     TEXT NOT NULL DEFAULT '{}',
    error        TEXT,
    retry_of     TEXT,
    generation   INTEGER NOT NULL DEFAULT 0,
    environment  TEXT,
    waiting_for  TEXT
);
CREATE UNIQUE INDEX runs_by_key ON runs (flow, key) WHERE key IS NOT NULL;
CREATE INDEX runs_by_status ON runs (status, number);
CREATE INDEX runs_queued ON runs (flow, number) WHERE status = 'queued';
CREATE INDEX runs_by_flow ON runs (flow, number);

CREATE TABLE step_runs (
    run_id       TEXT NOT NULL,
    step         INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    status       TEXT NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER,
    output_kind  TEXT,
    output_path  TEXT,
    rows         INTEGER,
    items_total  INTEGER,
    items_done   INTEGER,
    items_failed INTEGER,
    checkpoint   TEXT,
    error        TEXT,
    PRIMARY KEY (run_id, step, attempt)
) WITHOUT ROWID;

CREATE TABLE items (
    run_id      TEXT NOT NULL,
    step        INTEGER NOT NULL,
    item        INTEGER NOT NULL,
    status      TEXT NOT NULL,
    duration_us INTEGER NOT NULL,
    value       TEXT,
    file        TEXT,
    error       TEXT,
    PRIMARY KEY (run_id, step, item)
) WITHOUT ROWID;

CREATE TABLE artifacts (
    run_id     TEXT NOT NULL,
    path       TEXT NOT NULL,
    step       INTEGER,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    info       TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL,
    PRIMARY KEY (run_id, path)
) WITHOUT ROWID;

CREATE TABLE run_files (
    run_id   TEXT NOT NULL,
    path     TEXT NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    PRIMARY KEY (run_id, path)
) WITHOUT ROWID;

CREATE TABLE file_state (
    flow        TEXT NOT NULL,
    root        TEXT NOT NULL,
    path        TEXT NOT NULL,
    size        INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    status      TEXT NOT NULL,
    run_id      TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    epoch       INTEGER NOT NULL DEFAULT 0,
    generation  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (flow, root, path)
) WITHOUT ROWID;

CREATE TABLE schedules (
    flow             TEXT PRIMARY KEY,
    trigger          TEXT NOT NULL,
    considered_until INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE events (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    id     TEXT NOT NULL,
    change TEXT NOT NULL
);
