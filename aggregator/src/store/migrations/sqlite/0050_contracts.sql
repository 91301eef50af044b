-- Enterprise contracts and on-premise reporters. Never edit this file once it was released: add the next number instead.

CREATE TABLE contract (
    id                TEXT    NOT NULL PRIMARY KEY,
    customer          TEXT    NOT NULL,
    -- Volume, rate, minimum, term, currency and SLA, as JSON. The term stands apart too, to be asked for.
    terms             TEXT    NOT NULL,
    first_day         INTEGER NOT NULL,
    last_day          INTEGER,
    bills_development INTEGER NOT NULL CHECK (bills_development IN (0, 1)),
    notice_days       INTEGER NOT NULL CHECK (notice_days >= 0),
    created_ms        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE contract_project (
    contract   TEXT    NOT NULL REFERENCES contract (id),
    project    TEXT    NOT NULL REFERENCES project (id),
    -- When the project came under it, and when it left it.
    applied_ms INTEGER,
    ended_ms   INTEGER,
    PRIMARY KEY (contract, project)
) STRICT, WITHOUT ROWID;

CREATE INDEX contract_by_project ON contract_project (project, contract);

CREATE TABLE reporter (
    -- The source of its cells, and the only one of that name anywhere.
    id          TEXT    NOT NULL PRIMARY KEY,
    contract    TEXT    NOT NULL,
    project     TEXT    NOT NULL,
    environment TEXT    NOT NULL CHECK (environment IN ('production', 'development')),
    rpm         INTEGER NOT NULL CHECK (rpm > 0),
    units_max   INTEGER CHECK (units_max >= 0),
    air_gap     INTEGER NOT NULL CHECK (air_gap IN (0, 1)),
    version     INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    retired_ms  INTEGER,
    -- The life of its data folder that reports.
    living      TEXT,
    heard_ms    INTEGER,
    FOREIGN KEY (contract, project) REFERENCES contract_project (contract, project)
) STRICT, WITHOUT ROWID;

CREATE INDEX reporter_by_contract ON reporter (contract, id);

-- Keys of reporters: their ids are unique over all of them, because a signature names its key alone.
CREATE TABLE reporter_key (
    id         TEXT    NOT NULL PRIMARY KEY,
    reporter   TEXT    NOT NULL REFERENCES reporter (id),
    sealed_by  TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX reporter_key_by_reporter ON reporter_key (reporter, created_ms);
