-- The ledger of each project. Never edit this file once it was released: add the next number instead.
-- Periods are written as 2026-11, so that their order is that of their text.

-- The append-only lines; fact and movements are JSON as the ledger writes it.
CREATE TABLE entry (
    project   TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    number    BIGINT NOT NULL CHECK (number >= 1),
    at_ms     BIGINT NOT NULL,
    fact      TEXT COLLATE "C" NOT NULL,
    movements TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, number)
);

-- Which paid order became which lot: an order is credited once.
CREATE TABLE lot_order (
    order_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project    TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    lot_number BIGINT NOT NULL CHECK (lot_number >= 1)
);

-- No time and no total here: whatever the order of batches, these rows are the same.
CREATE TABLE crossing (
    project       TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    period        TEXT COLLATE "C" NOT NULL,
    quota_version BIGINT NOT NULL CHECK (quota_version >= 1),
    percent       BIGINT NOT NULL CHECK (percent BETWEEN 1 AND 100),
    PRIMARY KEY (project, period, quota_version, percent)
);

-- What was seen when a level was crossed.
CREATE TABLE crossing_event (
    project       TEXT COLLATE "C" NOT NULL,
    period        TEXT COLLATE "C" NOT NULL,
    quota_version BIGINT NOT NULL,
    percent       BIGINT NOT NULL,
    at_ms         BIGINT NOT NULL,
    quota         BIGINT NOT NULL,
    used          BIGINT NOT NULL,
    PRIMARY KEY (project, period, quota_version, percent),
    FOREIGN KEY (project, period, quota_version, percent)
        REFERENCES crossing (project, period, quota_version, percent)
);

-- The sums of the cells, moved by the transaction that merges them; they may be rebuilt at any time.
CREATE TABLE usage (
    project TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    mode    TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    period  TEXT COLLATE "C" NOT NULL,
    units   BIGINT NOT NULL CHECK (units >= 0),
    anchors BIGINT NOT NULL CHECK (anchors >= 0),
    PRIMARY KEY (project, mode, period)
);

-- What a call that changed something was answered, so that the same call again changes nothing.
CREATE TABLE idempotency (
    project    TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    key        TEXT COLLATE "C" NOT NULL,
    sha256     BYTEA NOT NULL CHECK (length(sha256) = 32),
    lot_number BIGINT NOT NULL CHECK (lot_number >= 1),
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (project, key)
);

-- The version of the catalogue that the project's terms are of.
ALTER TABLE project ADD COLUMN catalogue BIGINT NOT NULL DEFAULT 1 CHECK (catalogue >= 1);

-- The oldest open period, so that the close finds what is due without reading every ledger.
ALTER TABLE project ADD COLUMN first_open TEXT COLLATE "C";

CREATE INDEX project_by_first_open ON project (first_open);
