-- People who sign in. Never edit this file once it was released: add the next number instead.

CREATE TABLE account (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    email       TEXT COLLATE "C" NOT NULL UNIQUE,
    name        TEXT COLLATE "C" NOT NULL,
    operator    BIGINT NOT NULL CHECK (operator IN (0, 1)),
    -- Argon2id, as PHC writes it; NULL is an account that only a link signs in to.
    password    TEXT COLLATE "C",
    created_ms  BIGINT NOT NULL,
    disabled_ms BIGINT
);

-- Whose place it is; NULL is a member who has tokens alone.
ALTER TABLE member ADD COLUMN account TEXT COLLATE "C" REFERENCES account (id);

CREATE UNIQUE INDEX member_by_account ON member (account, project) WHERE account IS NOT NULL AND removed_ms IS NULL;

CREATE TABLE session (
    hash     BYTEA NOT NULL PRIMARY KEY,
    id       TEXT COLLATE "C" NOT NULL UNIQUE,
    account  TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    way      TEXT COLLATE "C" NOT NULL CHECK (way IN ('password', 'link', 'invitation')),
    began_ms BIGINT NOT NULL,
    seen_ms  BIGINT NOT NULL
);

CREATE INDEX session_by_account ON session (account);

-- A link that was used, and one that was replaced, is no more.
CREATE TABLE sign_in_link (
    hash       BYTEA NOT NULL PRIMARY KEY,
    account    TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    expires_ms BIGINT NOT NULL
);

-- An invitation that was accepted, and one that was withdrawn, is no more.
CREATE TABLE invitation (
    project    TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    id         TEXT COLLATE "C" NOT NULL,
    hash       BYTEA NOT NULL UNIQUE,
    email      TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'finance', 'viewer')),
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);

-- Attempts to sign in that did not succeed yet, under hashes of whose they are.
CREATE TABLE sign_in_attempt (
    subject BYTEA  NOT NULL,
    id      TEXT COLLATE "C" NOT NULL,
    at_ms   BIGINT NOT NULL,
    PRIMARY KEY (subject, id)
);

CREATE INDEX sign_in_attempt_by_age ON sign_in_attempt (at_ms);

-- The audit log names people.
ALTER TABLE trail DROP CONSTRAINT trail_actor_kind_check;

ALTER TABLE trail ADD CONSTRAINT trail_actor_kind_check CHECK (actor_kind IN ('token', 'command', 'job', 'person'));
