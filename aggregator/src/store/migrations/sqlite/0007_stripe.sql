-- What we know of Stripe. Never edit this file once it was released: add the next number instead.

-- The one customer of a project; a row without an id is a call that is not known to have arrived.
CREATE TABLE stripe_customer (
    project    TEXT    NOT NULL PRIMARY KEY REFERENCES project (id),
    customer   TEXT    UNIQUE,
    attempt    INTEGER NOT NULL CHECK (attempt >= 1),
    -- Rises with everything that is settled for the project: what was fetched before is not settled after it.
    settled    INTEGER NOT NULL DEFAULT 0,
    deleted    INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    -- What the project was last paid with, and what Stripe was last told to charge from then on.
    paid_with  TEXT,
    charged    TEXT,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which of our goods a price at Stripe is for; amounts of prices never change, so rows stay true for ever.
CREATE TABLE stripe_price (
    id      TEXT    NOT NULL PRIMARY KEY,
    good    TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    current INTEGER NOT NULL CHECK (current IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX stripe_price_by_good ON stripe_price (good, current);

CREATE TABLE stripe_order (
    id          TEXT    NOT NULL PRIMARY KEY,
    project     TEXT    NOT NULL REFERENCES project (id),
    good        TEXT    NOT NULL,
    is_plan     INTEGER NOT NULL CHECK (is_plan IN (0, 1)),
    units       INTEGER NOT NULL CHECK (units >= 0),
    price       INTEGER NOT NULL,
    currency    TEXT    NOT NULL,
    price_id    TEXT    NOT NULL,
    customer    TEXT    NOT NULL,
    attempt     INTEGER NOT NULL CHECK (attempt >= 1),
    form        TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    session     TEXT    UNIQUE,
    url         TEXT,
    payment     TEXT,
    call_id      BLOB,
    call_request BLOB,
    note        TEXT,
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,
    due_ms      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX stripe_order_by_call ON stripe_order (project, call_id) WHERE call_id IS NOT NULL;
-- A second subscription is never sold while the first is being bought.
CREATE UNIQUE INDEX stripe_order_one_plan ON stripe_order (project)
    WHERE is_plan = 1 AND state IN ('new', 'open', 'processing');
CREATE INDEX stripe_order_by_payment ON stripe_order (payment);
CREATE INDEX stripe_order_unfinished ON stripe_order (due_ms) WHERE state IN ('new', 'open', 'processing');

-- The inbox: every delivery once, as it came.
CREATE TABLE stripe_event (
    id          TEXT    NOT NULL PRIMARY KEY,
    type        TEXT    NOT NULL,
    object      TEXT,
    livemode    INTEGER,
    raw         BLOB    NOT NULL,
    received_ms INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'applied', 'ignored', 'parked')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_ms      INTEGER NOT NULL,
    note        TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX stripe_event_pending ON stripe_event (due_ms, id) WHERE state = 'pending';
CREATE INDEX stripe_event_parked ON stripe_event (received_ms, id) WHERE state = 'parked';

CREATE TABLE stripe_subscription (
    project      TEXT    NOT NULL PRIMARY KEY REFERENCES project (id),
    subscription TEXT    NOT NULL,
    item         TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    plan         TEXT,
    pays         TEXT    NOT NULL CHECK (pays IN ('month', 'year')),
    until_ms     INTEGER,
    ends_ms      INTEGER,
    overdue_ms   INTEGER
) STRICT, WITHOUT ROWID;

-- What closed months cost, one row and one invoice each; adjustments have numbers of their own.
CREATE TABLE stripe_bill (
    project    TEXT    NOT NULL REFERENCES project (id),
    period     TEXT    NOT NULL,
    number     INTEGER NOT NULL CHECK (number >= 0),
    bill       TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    currency   TEXT    NOT NULL,
    step       TEXT    NOT NULL,
    attempt    INTEGER NOT NULL CHECK (attempt >= 1),
    customer   TEXT,
    invoice    TEXT    UNIQUE,
    first_ms   INTEGER,
    overdue_ms INTEGER,
    note       TEXT,
    created_ms INTEGER NOT NULL,
    due_ms     INTEGER NOT NULL,
    failures   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (project, period, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX stripe_bill_due ON stripe_bill (due_ms) WHERE step IN ('due', 'drafted', 'lined');
