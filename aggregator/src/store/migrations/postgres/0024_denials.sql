-- Requests that were refused, by reason. Never edit this file once it was released: add the next number instead.

-- Cumulative counts beside the cells, merged by max like them; as with cells, that rows refer to a project is not
-- checked. No bill reads this table.
CREATE TABLE denial (
    project     TEXT COLLATE "C" NOT NULL,
    mode        TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    day         BIGINT NOT NULL,
    agent       TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    source      TEXT COLLATE "C" NOT NULL,
    incarnation TEXT COLLATE "C" NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL,
    denied      BIGINT NOT NULL CHECK (denied >= 0),
    PRIMARY KEY (project, mode, day, agent, kind, source, incarnation, reason)
) WITH (fillfactor = 70);

-- What a day came to; it may be rebuilt at any time.
CREATE TABLE denial_day (
    project TEXT COLLATE "C" NOT NULL,
    mode    TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    day     BIGINT NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    reason  TEXT COLLATE "C" NOT NULL,
    denied  BIGINT NOT NULL CHECK (denied >= 0),
    PRIMARY KEY (project, mode, day, kind, reason)
) WITH (fillfactor = 70);
