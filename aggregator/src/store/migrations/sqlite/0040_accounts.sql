-- People who sign in. Never edit this file once it was released: add the next number instead.

CREATE TABLE account (
    id          TEXT    NOT NULL PRIMARY KEY,
    email       TEXT    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    operator    INTEGER NOT NULL CHECK (operator IN (0, 1)),
    -- Argon2id, as PHC writes it; NULL is an account that only a link signs in to.
    password    TEXT,
    created_ms  INTEGER NOT NULL,
    disabled_ms INTEGER
) STRICT, WITHOUT ROWID;

-- Whose place it is; NULL is a member who has tokens alone.
ALTER TABLE member ADD COLUMN account TEXT REFERENCES account (id);

CREATE UNIQUE INDEX member_by_account ON member (account, project) WHERE account IS NOT NULL AND removed_ms IS NULL;

CREATE TABLE session (
    hash     BLOB    NOT NULL PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    account  TEXT    NOT NULL REFERENCES account (id),
    way      TEXT    NOT NULL CHECK (way IN ('password', 'link', 'invitation')),
    began_ms INTEGER NOT NULL,
    seen_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX session_by_account ON session (account);

-- A link that was used, and one that was replaced, is no more.
CREATE TABLE sign_in_link (
    hash       BLOB    NOT NULL PRIMARY KEY,
    account    TEXT    NOT NULL REFERENCES account (id),
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An invitation that was accepted, and one that was withdrawn, is no more.
CREATE TABLE invitation (
    project    TEXT    NOT NULL REFERENCES project (id),
    id         TEXT    NOT NULL,
    hash       BLOB    NOT NULL UNIQUE,
    email      TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('owner', 'admin', 'finance', 'viewer')),
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

-- Attempts to sign in that did not succeed yet, under hashes of whose they are.
CREATE TABLE sign_in_attempt (
    subject BLOB    NOT NULL,
    id      TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (subject, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_in_attempt_by_age ON sign_in_attempt (at_ms);

-- The audit log names people. A check cannot be changed here but with its table.
CREATE TABLE trail_with_people (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms      INTEGER NOT NULL,
    actor_kind TEXT    NOT NULL CHECK (actor_kind IN ('token', 'command', 'job', 'person')),
    actor      TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    project    TEXT,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    was        TEXT,
    became     TEXT
) STRICT;

INSERT INTO trail_with_people SELECT number, at_ms, actor_kind, actor, role, project, action, target, was, became FROM trail;

DROP TABLE trail;

ALTER TABLE trail_with_people RENAME TO trail;

CREATE INDEX trail_by_project ON trail (project, number);

CREATE TRIGGER trail_is_not_changed BEFORE UPDATE ON trail
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER trail_is_not_shortened BEFORE DELETE ON trail
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
