-- Calls that take effect once, the catalogue's versions, and a project's own thresholds. Never edit this file
-- once it was released: add the next number instead.

-- What a named call was answered, so that the same call again is answered the same and changes nothing. The id
-- and the seal depend on the caller's credential: nobody who reads this table learns a name or an answer.
CREATE TABLE call (
    id         BYTEA NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    request    BYTEA NOT NULL CHECK (length(request) = 32),
    answer     BYTEA NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE INDEX call_by_age ON call (created_ms);

-- Names of credits alone; their calls are remembered with all others now.
DROP TABLE idempotency;

-- Every version of the plan catalogue that was applied, as it was written.
CREATE TABLE catalogue (
    version    BIGINT NOT NULL PRIMARY KEY CHECK (version >= 1),
    document   TEXT COLLATE "C" NOT NULL,
    applied_ms BIGINT NOT NULL
);

-- At which percentages of its quota a project is told, as a JSON list; NULL is the catalogue's.
ALTER TABLE project ADD COLUMN thresholds TEXT COLLATE "C";
