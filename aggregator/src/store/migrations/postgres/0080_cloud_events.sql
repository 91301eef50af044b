-- Events that were counted, each by the SHA-256 of its source and id, so that it is counted once.
CREATE TABLE cloud_event (
    project  TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    mode     TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    event    BYTEA  NOT NULL CHECK (length(event) = 32),
    taken_ms BIGINT NOT NULL,
    PRIMARY KEY (project, mode, event)
);

CREATE INDEX cloud_event_by_age ON cloud_event (taken_ms);

-- What a token is for alone, where it is no person's role: `events` reports units and reads nothing.
ALTER TABLE token ADD COLUMN purpose TEXT COLLATE "C" CHECK (purpose = 'events');
