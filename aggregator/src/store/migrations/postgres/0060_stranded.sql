-- Units of a home that are out with holders who are not heard of: spent, and not billed. A later life of the home's
-- storage begins with them.
CREATE TABLE stranded (
    project     TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    mode        TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    source      TEXT COLLATE "C" NOT NULL,
    incarnation TEXT COLLATE "C" NOT NULL,
    period      TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL CHECK (seq >= 0),
    units       BIGINT NOT NULL CHECK (units >= 0),
    PRIMARY KEY (project, mode, source, incarnation, period)
);
