-- The books of first light. Never edit this file once it was released: add the next number instead.
-- Days are counted from 1970-01-01, instants in milliseconds since then. Text is ordered by its bytes, as
-- SQLite orders it.

CREATE TABLE project (
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    plan           TEXT COLLATE "C" NOT NULL,
    rpm            BIGINT CHECK (rpm >= 1),
    included       BIGINT CHECK (included >= 0),
    suspended      BIGINT NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1)),
    auto_overage   BIGINT NOT NULL DEFAULT 0 CHECK (auto_overage IN (0, 1)),
    rpm_max        BIGINT NOT NULL CHECK (rpm_max >= 1),
    policy_version BIGINT NOT NULL CHECK (policy_version >= 1),
    created_ms     BIGINT NOT NULL
);

CREATE TABLE project_key (
    project    TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    id         TEXT COLLATE "C" NOT NULL,
    mode       TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    PRIMARY KEY (project, id)
);

CREATE TABLE token (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    hash       BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    project    TEXT COLLATE "C" REFERENCES project (id),
    role       TEXT COLLATE "C" NOT NULL CHECK (role IN ('operator', 'owner', 'admin', 'finance', 'viewer')),
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    CHECK ((role = 'operator') = (project IS NULL))
);

CREATE INDEX token_by_project ON token (project);

-- The day comes third, so that a usage report reads one range of the key. Rows are written by the thousand,
-- under the lock of their project's row, which is why that they refer to it is not checked for each; room is
-- left in each page, so that a count can rise without touching the index.
CREATE TABLE cell (
    project     TEXT COLLATE "C" NOT NULL,
    mode        TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    day         BIGINT NOT NULL,
    agent       TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    source      TEXT COLLATE "C" NOT NULL,
    incarnation TEXT COLLATE "C" NOT NULL,
    units       BIGINT NOT NULL CHECK (units >= 0),
    tokens_in   BIGINT NOT NULL CHECK (tokens_in >= 0),
    tokens_out  BIGINT NOT NULL CHECK (tokens_out >= 0),
    anchors     BIGINT NOT NULL CHECK (anchors >= 0),
    PRIMARY KEY (project, mode, day, agent, kind, source, incarnation)
) WITH (fillfactor = 70);

-- Cells that cannot be true; they are never billed unless a person decides so.
CREATE TABLE quarantine (
    project       TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    mode          TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    day           BIGINT NOT NULL,
    agent         TEXT COLLATE "C" NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    source        TEXT COLLATE "C" NOT NULL,
    incarnation   TEXT COLLATE "C" NOT NULL,
    reason        TEXT COLLATE "C" NOT NULL CHECK (reason IN ('above_rate', 'in_future')),
    units         BIGINT NOT NULL CHECK (units >= 0),
    tokens_in     BIGINT NOT NULL CHECK (tokens_in >= 0),
    tokens_out    BIGINT NOT NULL CHECK (tokens_out >= 0),
    anchors       BIGINT NOT NULL CHECK (anchors >= 0),
    first_seen_ms BIGINT NOT NULL,
    PRIMARY KEY (project, mode, day, agent, kind, source, incarnation, reason)
);

CREATE TABLE source (
    project      TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    mode         TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    source       TEXT COLLATE "C" NOT NULL,
    incarnation  TEXT COLLATE "C" NOT NULL,
    watermark    BIGINT NOT NULL CHECK (watermark >= 0),
    last_seen_ms BIGINT NOT NULL,
    PRIMARY KEY (project, mode, source, incarnation)
);

-- Which policies the edge has not acknowledged yet: the newest version of each project.
CREATE TABLE policy_outbox (
    project    TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES project (id),
    version    BIGINT NOT NULL,
    attempts   BIGINT NOT NULL DEFAULT 0,
    due_ms     BIGINT NOT NULL
);

-- Single values, such as what all policies were last compiled from.
CREATE TABLE setting (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);
