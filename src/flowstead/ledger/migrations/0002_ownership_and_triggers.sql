-- The generation of published state that a row was merged from; 0 for what this machine wrote itself.
ALTER TABLE runs ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file_state ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file_state ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

CREATE TABLE schedules (
    flow             TEXT PRIMARY KEY,
    trigger          TEXT NOT NULL,
    considered_until INTEGER NOT NULL
) WITHOUT ROWID;
