-- What reporters sent, and when they were silent. Never edit this file once it was released: add the next number instead.

-- When what was sent in a reporter's name was refused last, since it was heard.
ALTER TABLE reporter ADD COLUMN key_refused_ms BIGINT;

ALTER TABLE reporter ADD COLUMN clock_refused_ms BIGINT;

-- When another data folder reported under its name.
ALTER TABLE reporter ADD COLUMN forked_ms BIGINT;

-- How many hours of the present silence have been told of.
ALTER TABLE reporter ADD COLUMN told_hours BIGINT NOT NULL DEFAULT 0;

-- One life of a reporter's data folder, and up to which number none of its reports is missing.
CREATE TABLE reporter_life (
    reporter    TEXT COLLATE "C"    NOT NULL REFERENCES reporter (id),
    incarnation TEXT COLLATE "C"    NOT NULL,
    watermark   BIGINT NOT NULL,
    PRIMARY KEY (reporter, incarnation)
);

-- Every report that was taken: its own hash, and that of the one before it.
CREATE TABLE reporter_report (
    reporter    TEXT COLLATE "C"    NOT NULL REFERENCES reporter (id),
    incarnation TEXT COLLATE "C"    NOT NULL,
    seq         BIGINT NOT NULL,
    hash        TEXT COLLATE "C"    NOT NULL,
    previous    TEXT COLLATE "C"    NOT NULL,
    at_ms       BIGINT NOT NULL,
    PRIMARY KEY (reporter, incarnation, seq)
);

-- Silences of a day and more; shorter ones can make no month fall.
CREATE TABLE reporter_silence (
    reporter TEXT COLLATE "C"    NOT NULL REFERENCES reporter (id),
    from_ms  BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (reporter, from_ms)
);

-- Reports of other data folders under a reporter's name, kept for people to look at.
CREATE TABLE reporter_fork (
    reporter    TEXT COLLATE "C"    NOT NULL REFERENCES reporter (id),
    incarnation TEXT COLLATE "C"    NOT NULL,
    seq         BIGINT NOT NULL,
    hash        TEXT COLLATE "C"    NOT NULL,
    body        TEXT COLLATE "C"    NOT NULL,
    at_ms       BIGINT NOT NULL,
    PRIMARY KEY (reporter, incarnation, seq, hash)
);

-- When no aggregator ran, so that nobody could be heard.
CREATE TABLE downtime (
    from_ms  BIGINT NOT NULL PRIMARY KEY,
    until_ms BIGINT NOT NULL
);
