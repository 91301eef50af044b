-- What reporters sent, and when they were silent. Never edit this file once it was released: add the next number instead.

-- When what was sent in a reporter's name was refused last, since it was heard.
ALTER TABLE reporter ADD COLUMN key_refused_ms INTEGER;

ALTER TABLE reporter ADD COLUMN clock_refused_ms INTEGER;

-- When another data folder reported under its name.
ALTER TABLE reporter ADD COLUMN forked_ms INTEGER;

-- How many hours of the present silence have been told of.
ALTER TABLE reporter ADD COLUMN told_hours INTEGER NOT NULL DEFAULT 0;

-- One life of a reporter's data folder, and up to which number none of its reports is missing.
CREATE TABLE reporter_life (
    reporter    TEXT    NOT NULL REFERENCES reporter (id),
    incarnation TEXT    NOT NULL,
    watermark   INTEGER NOT NULL,
    PRIMARY KEY (reporter, incarnation)
) STRICT, WITHOUT ROWID;

-- Every report that was taken: its own hash, and that of the one before it.
CREATE TABLE reporter_report (
    reporter    TEXT    NOT NULL REFERENCES reporter (id),
    incarnation TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    hash        TEXT    NOT NULL,
    previous    TEXT    NOT NULL,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (reporter, incarnation, seq)
) STRICT, WITHOUT ROWID;

-- Silences of a day and more; shorter ones can make no month fall.
CREATE TABLE reporter_silence (
    reporter TEXT    NOT NULL REFERENCES reporter (id),
    from_ms  INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (reporter, from_ms)
) STRICT, WITHOUT ROWID;

-- Reports of other data folders under a reporter's name, kept for people to look at.
CREATE TABLE reporter_fork (
    reporter    TEXT    NOT NULL REFERENCES reporter (id),
    incarnation TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    hash        TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (reporter, incarnation, seq, hash)
) STRICT, WITHOUT ROWID;

-- When no aggregator ran, so that nobody could be heard.
CREATE TABLE downtime (
    from_ms  INTEGER NOT NULL PRIMARY KEY,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
