-- What pays for units. Never edit this file once it was released: add the next number instead.

-- What was told of each month that anything but the plan has paid for: what pays for its last unit, and the number of the
-- project's last event that told so.
CREATE TABLE payer (
    project TEXT    NOT NULL REFERENCES project (id),
    period  TEXT    NOT NULL,
    source  TEXT    NOT NULL CHECK (source IN ('included', 'lot', 'overage')),
    number  INTEGER NOT NULL CHECK (number >= 0),
    PRIMARY KEY (project, period)
) STRICT, WITHOUT ROWID;
