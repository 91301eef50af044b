-- Units of a home that are out with holders who are not heard of: spent, and not billed. A later life of the home's
-- storage begins with them.
CREATE TABLE stranded (
    project     TEXT    NOT NULL REFERENCES project (id),
    mode        TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    source      TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    period      TEXT    NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq >= 0),
    units       INTEGER NOT NULL CHECK (units >= 0),
    PRIMARY KEY (project, mode, source, incarnation, period)
) STRICT, WITHOUT ROWID;
