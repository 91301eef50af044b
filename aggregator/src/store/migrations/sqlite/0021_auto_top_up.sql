-- Automatic top-ups. Never edit this file once it was released: add the next number instead.

-- An order without a Checkout page: its session is an invoice.
ALTER TABLE stripe_order ADD COLUMN automatic INTEGER NOT NULL DEFAULT 0 CHECK (automatic IN (0, 1));

-- One at a time: while one is unfinished, or a person has to look at it, no other is begun.
CREATE UNIQUE INDEX stripe_order_one_automatic ON stripe_order (project)
    WHERE automatic = 1 AND state IN ('new', 'open', 'processing', 'held');

CREATE TABLE auto_top_up (
    project       TEXT    NOT NULL PRIMARY KEY REFERENCES project (id),
    pack          TEXT    NOT NULL,
    below         INTEGER NOT NULL CHECK (below >= 1),
    monthly_limit INTEGER NOT NULL CHECK (monthly_limit >= 1),
    -- Payments that failed one after the other, what was tried last and why it failed, and until when nothing is tried.
    failures      INTEGER NOT NULL DEFAULT 0,
    stopped       INTEGER NOT NULL DEFAULT 0 CHECK (stopped IN (0, 1)),
    failed_with   TEXT,
    reason        TEXT,
    wait_ms       INTEGER NOT NULL DEFAULT 0,
    -- The last look that bought nothing holds for this month and policy, until the month's units reach this total.
    looked_month  TEXT,
    looked_policy INTEGER,
    looked_units  INTEGER
) STRICT, WITHOUT ROWID;
