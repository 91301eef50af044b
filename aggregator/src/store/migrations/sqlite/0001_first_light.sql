-- The books of first light. Never edit this file once it was released: add the next number instead.
-- Days are counted from 1970-01-01, instants in milliseconds since then.

CREATE TABLE project (
    id             TEXT    NOT NULL PRIMARY KEY,
    plan           TEXT    NOT NULL,
    rpm            INTEGER CHECK (rpm >= 1),
    included       INTEGER CHECK (included >= 0),
    suspended      INTEGER NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1)),
    auto_overage   INTEGER NOT NULL DEFAULT 0 CHECK (auto_overage IN (0, 1)),
    rpm_max        INTEGER NOT NULL CHECK (rpm_max >= 1),
    policy_version INTEGER NOT NULL CHECK (policy_version >= 1),
    created_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE project_key (
    project    TEXT    NOT NULL REFERENCES project (id),
    id         TEXT    NOT NULL,
    mode       TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
    id         TEXT    NOT NULL PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    project    TEXT    REFERENCES project (id),
    role       TEXT    NOT NULL CHECK (role IN ('operator', 'owner', 'admin', 'finance', 'viewer')),
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER,
    CHECK ((role = 'operator') = (project IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX token_by_project ON token (project);

-- The day comes third, so that a usage report reads one range of the key.
CREATE TABLE cell (
    project     TEXT    NOT NULL REFERENCES project (id),
    mode        TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    day         INTEGER NOT NULL,
    agent       TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    units       INTEGER NOT NULL CHECK (units >= 0),
    tokens_in   INTEGER NOT NULL CHECK (tokens_in >= 0),
    tokens_out  INTEGER NOT NULL CHECK (tokens_out >= 0),
    anchors     INTEGER NOT NULL CHECK (anchors >= 0),
    PRIMARY KEY (project, mode, day, agent, kind, source, incarnation)
) STRICT, WITHOUT ROWID;

-- Cells that cannot be true; they are never billed unless a person decides so.
CREATE TABLE quarantine (
    project       TEXT    NOT NULL REFERENCES project (id),
    mode          TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    day           INTEGER NOT NULL,
    agent         TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    incarnation   TEXT    NOT NULL,
    reason        TEXT    NOT NULL CHECK (reason IN ('above_rate', 'in_future')),
    units         INTEGER NOT NULL CHECK (units >= 0),
    tokens_in     INTEGER NOT NULL CHECK (tokens_in >= 0),
    tokens_out    INTEGER NOT NULL CHECK (tokens_out >= 0),
    anchors       INTEGER NOT NULL CHECK (anchors >= 0),
    first_seen_ms INTEGER NOT NULL,
    PRIMARY KEY (project, mode, day, agent, kind, source, incarnation, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE source (
    project      TEXT    NOT NULL REFERENCES project (id),
    mode         TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    source       TEXT    NOT NULL,
    incarnation  TEXT    NOT NULL,
    watermark    INTEGER NOT NULL CHECK (watermark >= 0),
    last_seen_ms INTEGER NOT NULL,
    PRIMARY KEY (project, mode, source, incarnation)
) STRICT, WITHOUT ROWID;

-- Which policies the edge has not acknowledged yet: the newest version of each project.
CREATE TABLE policy_outbox (
    project    TEXT    NOT NULL PRIMARY KEY REFERENCES project (id),
    version    INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Single values, such as what all policies were last compiled from.
CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
