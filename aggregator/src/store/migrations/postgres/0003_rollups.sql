-- Sums for reports, moved by the transaction that merges the cells; they may be rebuilt at any time.
-- Never edit this file once it was released: add the next number instead.

-- What a day came to.
CREATE TABLE usage_day (
    project    TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    mode       TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    day        BIGINT NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    units      BIGINT NOT NULL CHECK (units >= 0),
    tokens_in  BIGINT NOT NULL CHECK (tokens_in >= 0),
    tokens_out BIGINT NOT NULL CHECK (tokens_out >= 0),
    anchors    BIGINT NOT NULL CHECK (anchors >= 0),
    PRIMARY KEY (project, mode, day, kind)
) WITH (fillfactor = 70);

-- What an agent's month came to; as with cells, that rows refer to a project is not checked.
CREATE TABLE usage_agent (
    project TEXT COLLATE "C" NOT NULL,
    mode    TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    period  TEXT COLLATE "C" NOT NULL,
    agent   TEXT COLLATE "C" NOT NULL,
    units   BIGINT NOT NULL CHECK (units >= 0),
    PRIMARY KEY (project, mode, period, agent)
) WITH (fillfactor = 70);
