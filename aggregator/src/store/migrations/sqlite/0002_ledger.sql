-- The ledger of each project. Never edit this file once it was released: add the next number instead.
-- Periods are written as 2026-11, so that their order is that of their text.

-- The append-only lines; fact and movements are JSON as the ledger writes it.
CREATE TABLE entry (
    project   TEXT    NOT NULL REFERENCES project (id),
    number    INTEGER NOT NULL CHECK (number >= 1),
    at_ms     INTEGER NOT NULL,
    fact      TEXT    NOT NULL,
    movements TEXT    NOT NULL,
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;

-- Which paid order became which lot: an order is credited once.
CREATE TABLE lot_order (
    order_id   TEXT    NOT NULL PRIMARY KEY,
    project    TEXT    NOT NULL REFERENCES project (id),
    lot_number INTEGER NOT NULL CHECK (lot_number >= 1)
) STRICT, WITHOUT ROWID;

-- No time and no total here: whatever the order of batches, these rows are the same.
CREATE TABLE crossing (
    project       TEXT    NOT NULL REFERENCES project (id),
    period        TEXT    NOT NULL,
    quota_version INTEGER NOT NULL CHECK (quota_version >= 1),
    percent       INTEGER NOT NULL CHECK (percent BETWEEN 1 AND 100),
    PRIMARY KEY (project, period, quota_version, percent)
) STRICT, WITHOUT ROWID;

-- What was seen when a level was crossed.
CREATE TABLE crossing_event (
    project       TEXT    NOT NULL,
    period        TEXT    NOT NULL,
    quota_version INTEGER NOT NULL,
    percent       INTEGER NOT NULL,
    at_ms         INTEGER NOT NULL,
    quota         INTEGER NOT NULL,
    used          INTEGER NOT NULL,
    PRIMARY KEY (project, period, quota_version, percent),
    FOREIGN KEY (project, period, quota_version, percent)
        REFERENCES crossing (project, period, quota_version, percent)
) STRICT, WITHOUT ROWID;

-- The sums of the cells, moved by the transaction that merges them; they may be rebuilt at any time.
CREATE TABLE usage (
    project TEXT    NOT NULL REFERENCES project (id),
    mode    TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    period  TEXT    NOT NULL,
    units   INTEGER NOT NULL CHECK (units >= 0),
    anchors INTEGER NOT NULL CHECK (anchors >= 0),
    PRIMARY KEY (project, mode, period)
) STRICT, WITHOUT ROWID;

INSERT INTO usage (project, mode, period, units, anchors)
SELECT project, mode, strftime('%Y-%m', day * 86400, 'unixepoch'), SUM(units), SUM(anchors)
FROM cell GROUP BY 1, 2, 3;

-- What a call that changed something was answered, so that the same call again changes nothing.
CREATE TABLE idempotency (
    project    TEXT    NOT NULL REFERENCES project (id),
    key        TEXT    NOT NULL,
    sha256     BLOB    NOT NULL CHECK (length(sha256) = 32),
    lot_number INTEGER NOT NULL CHECK (lot_number >= 1),
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (project, key)
) STRICT, WITHOUT ROWID;

-- The version of the catalogue that the project's terms are of.
ALTER TABLE project ADD COLUMN catalogue INTEGER NOT NULL DEFAULT 1 CHECK (catalogue >= 1);

-- The oldest open period, so that the close finds what is due without reading every ledger.
ALTER TABLE project ADD COLUMN first_open TEXT;

CREATE INDEX project_by_first_open ON project (first_open);
