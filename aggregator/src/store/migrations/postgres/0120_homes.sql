-- Where a project's homes are, once they were to move: the place, how many moves there were, and where they are to be.
ALTER TABLE project ADD COLUMN homes_at TEXT COLLATE "C" CHECK (homes_at IN ('durable_object', 'redis'));
ALTER TABLE project ADD COLUMN homes_term BIGINT NOT NULL DEFAULT 0;
ALTER TABLE project ADD COLUMN homes_to TEXT COLLATE "C" CHECK (homes_to IN ('durable_object', 'redis'));

CREATE INDEX project_homes_to ON project (homes_to, id) WHERE homes_to IS NOT NULL;

-- Lives of homes that have ended in order, for which no later life holds anything back; and the permits that each had
-- issued of its last minutes.
CREATE TABLE retired (
    project     TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    mode        TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    source      TEXT COLLATE "C" NOT NULL,
    incarnation TEXT COLLATE "C" NOT NULL,
    place       TEXT COLLATE "C" NOT NULL CHECK (place IN ('durable_object', 'redis')),
    term        BIGINT NOT NULL CHECK (term >= 0),
    permits     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, mode, source, incarnation)
);
