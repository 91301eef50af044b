-- Who changed what, a project's members, and its live stream. Never edit this file once it was released: add the
-- next number instead.

-- What was before and what is after are JSON; NULL where there was nothing or is nothing.
CREATE TABLE trail (
    number     BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms      BIGINT NOT NULL,
    actor_kind TEXT COLLATE "C" NOT NULL CHECK (actor_kind IN ('token', 'command', 'job')),
    actor      TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C",
    action     TEXT COLLATE "C" NOT NULL,
    target     TEXT COLLATE "C" NOT NULL,
    was        TEXT COLLATE "C",
    became     TEXT COLLATE "C"
);

CREATE INDEX trail_by_project ON trail (project, number);

CREATE FUNCTION trail_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER trail_is_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON trail
FOR EACH STATEMENT EXECUTE FUNCTION trail_is_append_only();

CREATE TABLE member (
    project    TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    id         TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'finance', 'viewer')),
    created_ms BIGINT NOT NULL,
    removed_ms BIGINT,
    PRIMARY KEY (project, id)
);

CREATE UNIQUE INDEX member_by_name ON member (project, name) WHERE removed_ms IS NULL;

-- Whose token it is; NULL is a program's.
ALTER TABLE token ADD COLUMN member TEXT COLLATE "C";

-- When a key that was rotated out stops being accepted.
ALTER TABLE project_key ADD COLUMN expires_ms BIGINT;

CREATE INDEX project_key_by_expiry ON project_key (expires_ms) WHERE expires_ms IS NOT NULL AND revoked_ms IS NULL;

-- What watchers are shown, in the order in which it was committed; old rows are forgotten.
CREATE TABLE stream (
    project TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    number  BIGINT NOT NULL CHECK (number >= 1),
    at_ms   BIGINT NOT NULL,
    type    TEXT COLLATE "C" NOT NULL,
    data    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, number)
);

CREATE INDEX stream_by_age ON stream (at_ms);
