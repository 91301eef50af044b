-- What customers are told, and whom. Never edit this file once it was released: add the next number instead.

-- What happened, written by the transaction in which it happened; the id follows from what it was.
CREATE TABLE event (
    project TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    number  BIGINT NOT NULL CHECK (number >= 1),
    id      TEXT COLLATE "C" NOT NULL UNIQUE,
    type    TEXT COLLATE "C" NOT NULL,
    at_ms   BIGINT NOT NULL,
    body    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, number)
);

CREATE INDEX event_by_time ON event (project, at_ms);

CREATE TABLE webhook (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project          TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    url              TEXT COLLATE "C" NOT NULL,
    events           TEXT COLLATE "C" NOT NULL,
    format           TEXT COLLATE "C" NOT NULL CHECK (format IN ('standard', 'slack')),
    description      TEXT COLLATE "C" NOT NULL,
    failing_ms       BIGINT,
    disabled_ms      BIGINT,
    disabled_because TEXT COLLATE "C" CHECK (disabled_because IN ('gone', 'failing', 'by_hand')),
    created_ms       BIGINT NOT NULL,
    -- When the first of its deliveries that wait is due; empty where none waits.
    due_ms           BIGINT,
    -- Until when one process alone delivers to it, and which.
    claimed_until_ms BIGINT NOT NULL DEFAULT 0,
    claimed_by       TEXT COLLATE "C" NOT NULL DEFAULT '',
    CHECK ((disabled_ms IS NULL) = (disabled_because IS NULL))
);

CREATE INDEX webhook_by_project ON webhook (project, created_ms);
CREATE INDEX webhook_by_due ON webhook (due_ms) WHERE due_ms IS NOT NULL AND disabled_ms IS NULL;

-- Sealed; the one that does not expire is the newest.
CREATE TABLE webhook_secret (
    webhook    TEXT COLLATE "C" NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    number     BIGINT NOT NULL CHECK (number >= 1),
    seal_key   TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA NOT NULL,
    expires_ms BIGINT,
    PRIMARY KEY (webhook, number)
);

-- One event for one endpoint.
CREATE TABLE webhook_delivery (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    webhook      TEXT COLLATE "C" NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    project      TEXT COLLATE "C" NOT NULL,
    event_number BIGINT NOT NULL,
    state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'delivered', 'gave_up')),
    -- Attempts of this round that failed; a replay begins a new one.
    failed       BIGINT NOT NULL DEFAULT 0 CHECK (failed >= 0),
    -- All attempts.
    attempts     BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- When it is tried next while it waits, else since when it does not.
    at_ms        BIGINT NOT NULL,
    UNIQUE (webhook, event_number),
    FOREIGN KEY (project, event_number) REFERENCES event (project, number) ON DELETE CASCADE
);

CREATE INDEX webhook_delivery_waiting ON webhook_delivery (webhook, at_ms, event_number) WHERE state = 'waiting';
CREATE INDEX webhook_delivery_by_event ON webhook_delivery (project, event_number);

CREATE TABLE webhook_attempt (
    delivery    TEXT COLLATE "C" NOT NULL REFERENCES webhook_delivery (id) ON DELETE CASCADE,
    number      BIGINT NOT NULL CHECK (number >= 1),
    at_ms       BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL CHECK (duration_ms >= 0),
    url         TEXT COLLATE "C" NOT NULL,
    outcome     TEXT COLLATE "C" NOT NULL,
    status      BIGINT,
    detail      TEXT COLLATE "C" NOT NULL,
    -- How the answer's body began.
    response    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (delivery, number)
);
