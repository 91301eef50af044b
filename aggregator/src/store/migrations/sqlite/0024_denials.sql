-- Requests that were refused, by reason. Never edit this file once it was released: add the next number instead.

-- Cumulative counts beside the cells, merged by max like them. No bill reads this table.
CREATE TABLE denial (
    project     TEXT    NOT NULL REFERENCES project (id),
    mode        TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    day         INTEGER NOT NULL,
    agent       TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    denied      INTEGER NOT NULL CHECK (denied >= 0),
    PRIMARY KEY (project, mode, day, agent, kind, source, incarnation, reason)
) STRICT, WITHOUT ROWID;

-- What a day came to; it may be rebuilt at any time.
CREATE TABLE denial_day (
    project TEXT    NOT NULL REFERENCES project (id),
    mode    TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    day     INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    denied  INTEGER NOT NULL CHECK (denied >= 0),
    PRIMARY KEY (project, mode, day, kind, reason)
) STRICT, WITHOUT ROWID;
