-- Events that were counted, each by the SHA-256 of its source and id, so that it is counted once.
CREATE TABLE cloud_event (
    project  TEXT    NOT NULL REFERENCES project (id),
    mode     TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    event    BLOB    NOT NULL CHECK (length(event) = 32),
    taken_ms INTEGER NOT NULL,
    PRIMARY KEY (project, mode, event)
) STRICT, WITHOUT ROWID;

CREATE INDEX cloud_event_by_age ON cloud_event (taken_ms);

-- What a token is for alone, where it is no person's role: `events` reports units and reads nothing.
ALTER TABLE token ADD COLUMN purpose TEXT CHECK (purpose = 'events');
