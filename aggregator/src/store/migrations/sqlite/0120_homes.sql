-- Where a project's homes are, once they were to move: the place, how many moves there were, and where they are to be.
ALTER TABLE project ADD COLUMN homes_at TEXT CHECK (homes_at IN ('durable_object', 'redis'));
ALTER TABLE project ADD COLUMN homes_term INTEGER NOT NULL DEFAULT 0;
ALTER TABLE project ADD COLUMN homes_to TEXT CHECK (homes_to IN ('durable_object', 'redis'));

CREATE INDEX project_homes_to ON project (homes_to, id) WHERE homes_to IS NOT NULL;

-- Lives of homes that have ended in order, for which no later life holds anything back; and the permits that each had
-- issued of its last minutes.
CREATE TABLE retired (
    project     TEXT    NOT NULL REFERENCES project (id),
    mode        TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    source      TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    place       TEXT    NOT NULL CHECK (place IN ('durable_object', 'redis')),
    term        INTEGER NOT NULL CHECK (term >= 0),
    permits     TEXT    NOT NULL,
    PRIMARY KEY (project, mode, source, incarnation)
) STRICT, WITHOUT ROWID;
