-- Sums for reports, moved by the transaction that merges the cells; they may be rebuilt at any time.
-- Never edit this file once it was released: add the next number instead.

-- What a day came to.
CREATE TABLE usage_day (
    project    TEXT    NOT NULL REFERENCES project (id),
    mode       TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    day        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    units      INTEGER NOT NULL CHECK (units >= 0),
    tokens_in  INTEGER NOT NULL CHECK (tokens_in >= 0),
    tokens_out INTEGER NOT NULL CHECK (tokens_out >= 0),
    anchors    INTEGER NOT NULL CHECK (anchors >= 0),
    PRIMARY KEY (project, mode, day, kind)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_day (project, mode, day, kind, units, tokens_in, tokens_out, anchors)
SELECT project, mode, day, kind, SUM(units), SUM(tokens_in), SUM(tokens_out), SUM(anchors)
FROM cell GROUP BY 1, 2, 3, 4;

-- What an agent's month came to.
CREATE TABLE usage_agent (
    project TEXT    NOT NULL REFERENCES project (id),
    mode    TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    period  TEXT    NOT NULL,
    agent   TEXT    NOT NULL,
    units   INTEGER NOT NULL CHECK (units >= 0),
    PRIMARY KEY (project, mode, period, agent)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_agent (project, mode, period, agent, units)
SELECT project, mode, strftime('%Y-%m', day * 86400, 'unixepoch'), agent, SUM(units)
FROM cell GROUP BY 1, 2, 3, 4;
