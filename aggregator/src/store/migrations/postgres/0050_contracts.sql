-- Enterprise contracts and on-premise reporters. Never edit this file once it was released: add the next number instead.

CREATE TABLE contract (
    id                TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    customer          TEXT COLLATE "C"    NOT NULL,
    -- Volume, rate, minimum, term, currency and SLA, as JSON. The term stands apart too, to be asked for.
    terms             TEXT COLLATE "C"    NOT NULL,
    first_day         BIGINT NOT NULL,
    last_day          BIGINT,
    bills_development BIGINT NOT NULL CHECK (bills_development IN (0, 1)),
    notice_days       BIGINT NOT NULL CHECK (notice_days >= 0),
    created_ms        BIGINT NOT NULL
);

CREATE TABLE contract_project (
    contract   TEXT COLLATE "C"    NOT NULL REFERENCES contract (id),
    project    TEXT COLLATE "C"    NOT NULL REFERENCES project (id),
    -- When the project came under it, and when it left it.
    applied_ms BIGINT,
    ended_ms   BIGINT,
    PRIMARY KEY (contract, project)
);

CREATE INDEX contract_by_project ON contract_project (project, contract);

CREATE TABLE reporter (
    -- The source of its cells, and the only one of that name anywhere.
    id          TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    contract    TEXT COLLATE "C"    NOT NULL,
    project     TEXT COLLATE "C"    NOT NULL,
    environment TEXT COLLATE "C"    NOT NULL CHECK (environment IN ('production', 'development')),
    rpm         BIGINT NOT NULL CHECK (rpm > 0),
    units_max   BIGINT CHECK (units_max >= 0),
    air_gap     BIGINT NOT NULL CHECK (air_gap IN (0, 1)),
    version     BIGINT NOT NULL,
    created_ms  BIGINT NOT NULL,
    retired_ms  BIGINT,
    -- The life of its data folder that reports.
    living      TEXT COLLATE "C",
    heard_ms    BIGINT,
    FOREIGN KEY (contract, project) REFERENCES contract_project (contract, project)
);

CREATE INDEX reporter_by_contract ON reporter (contract, id);

-- Keys of reporters: their ids are unique over all of them, because a signature names its key alone.
CREATE TABLE reporter_key (
    id         TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    reporter   TEXT COLLATE "C"    NOT NULL REFERENCES reporter (id),
    sealed_by  TEXT COLLATE "C"    NOT NULL,
    sealed     BYTEA    NOT NULL,
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

CREATE INDEX reporter_key_by_reporter ON reporter_key (reporter, created_ms);
