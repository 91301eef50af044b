-- Who changed what, a project's members, and its live stream. Never edit this file once it was released: add the
-- next number instead.

-- What was before and what is after are JSON; NULL where there was nothing or is nothing.
CREATE TABLE trail (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms      INTEGER NOT NULL,
    actor_kind TEXT    NOT NULL CHECK (actor_kind IN ('token', 'command', 'job')),
    actor      TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    project    TEXT,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    was        TEXT,
    became     TEXT
) STRICT;

CREATE INDEX trail_by_project ON trail (project, number);

CREATE TRIGGER trail_is_not_changed BEFORE UPDATE ON trail
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER trail_is_not_shortened BEFORE DELETE ON trail
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TABLE member (
    project    TEXT    NOT NULL REFERENCES project (id),
    id         TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('owner', 'admin', 'finance', 'viewer')),
    created_ms INTEGER NOT NULL,
    removed_ms INTEGER,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX member_by_name ON member (project, name) WHERE removed_ms IS NULL;

-- Whose token it is; NULL is a program's.
ALTER TABLE token ADD COLUMN member TEXT;

-- When a key that was rotated out stops being accepted.
ALTER TABLE project_key ADD COLUMN expires_ms INTEGER;

CREATE INDEX project_key_by_expiry ON project_key (expires_ms) WHERE expires_ms IS NOT NULL AND revoked_ms IS NULL;

-- What watchers are shown, in the order in which it was committed; old rows are forgotten.
CREATE TABLE stream (
    project TEXT    NOT NULL REFERENCES project (id),
    number  INTEGER NOT NULL CHECK (number >= 1),
    at_ms   INTEGER NOT NULL,
    type    TEXT    NOT NULL,
    data    TEXT    NOT NULL,
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX stream_by_age ON stream (at_ms);
