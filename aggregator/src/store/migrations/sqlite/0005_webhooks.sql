-- What customers are told, and whom. Never edit this file once it was released: add the next number instead.

-- What happened, written by the transaction in which it happened; the id follows from what it was.
CREATE TABLE event (
    project TEXT    NOT NULL REFERENCES project (id),
    number  INTEGER NOT NULL CHECK (number >= 1),
    id      TEXT    NOT NULL UNIQUE,
    type    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_by_time ON event (project, at_ms);

CREATE TABLE webhook (
    id               TEXT    NOT NULL PRIMARY KEY,
    project          TEXT    NOT NULL REFERENCES project (id),
    url              TEXT    NOT NULL,
    events           TEXT    NOT NULL,
    format           TEXT    NOT NULL CHECK (format IN ('standard', 'slack')),
    description      TEXT    NOT NULL,
    failing_ms       INTEGER,
    disabled_ms      INTEGER,
    disabled_because TEXT    CHECK (disabled_because IN ('gone', 'failing', 'by_hand')),
    created_ms       INTEGER NOT NULL,
    -- When the first of its deliveries that wait is due; empty where none waits.
    due_ms           INTEGER,
    -- Until when one process alone delivers to it, and which.
    claimed_until_ms INTEGER NOT NULL DEFAULT 0,
    claimed_by       TEXT    NOT NULL DEFAULT '',
    CHECK ((disabled_ms IS NULL) = (disabled_because IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_by_project ON webhook (project, created_ms);
CREATE INDEX webhook_by_due ON webhook (due_ms) WHERE due_ms IS NOT NULL AND disabled_ms IS NULL;

-- Sealed; the one that does not expire is the newest.
CREATE TABLE webhook_secret (
    webhook    TEXT    NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL CHECK (number >= 1),
    seal_key   TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (webhook, number)
) STRICT, WITHOUT ROWID;

-- One event for one endpoint.
CREATE TABLE webhook_delivery (
    id           TEXT    NOT NULL PRIMARY KEY,
    webhook      TEXT    NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    project      TEXT    NOT NULL,
    event_number INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'gave_up')),
    -- Attempts of this round that failed; a replay begins a new one.
    failed       INTEGER NOT NULL DEFAULT 0 CHECK (failed >= 0),
    -- All attempts.
    attempts     INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- When it is tried next while it waits, else since when it does not.
    at_ms        INTEGER NOT NULL,
    UNIQUE (webhook, event_number),
    FOREIGN KEY (project, event_number) REFERENCES event (project, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_delivery_waiting ON webhook_delivery (webhook, at_ms, event_number) WHERE state = 'waiting';
CREATE INDEX webhook_delivery_by_event ON webhook_delivery (project, event_number);

CREATE TABLE webhook_attempt (
    delivery    TEXT    NOT NULL REFERENCES webhook_delivery (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number >= 1),
    at_ms       INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    url         TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,
    status      INTEGER,
    detail      TEXT    NOT NULL,
    -- How the answer's body began.
    response    TEXT    NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
