-- People who sign in by an identity provider. Never edit this file once it was released: add the next number instead.

-- Who somebody is there, whatever address the person has by then: an address may be given to somebody else.
CREATE TABLE identity (
    issuer   TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    account  TEXT    NOT NULL REFERENCES account (id),
    bound_ms INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX identity_by_account ON identity (account, issuer);

-- Sign-ins that came back, so that none comes back twice.
CREATE TABLE errand_done (
    state TEXT    NOT NULL PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX errand_done_by_age ON errand_done (at_ms);

-- A check cannot be changed here but with its table.
CREATE TABLE session_by_all_ways (
    hash     BLOB    NOT NULL PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    account  TEXT    NOT NULL REFERENCES account (id),
    way      TEXT    NOT NULL CHECK (way IN ('password', 'link', 'invitation', 'provider')),
    began_ms INTEGER NOT NULL,
    seen_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO session_by_all_ways SELECT hash, id, account, way, began_ms, seen_ms FROM session;

DROP TABLE session;

ALTER TABLE session_by_all_ways RENAME TO session;

CREATE INDEX session_by_account ON session (account);
