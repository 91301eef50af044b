-- What we know of Stripe. Never edit this file once it was released: add the next number instead.

-- The one customer of a project; a row without an id is a call that is not known to have arrived.
CREATE TABLE stripe_customer (
    project    TEXT COLLATE "C"    NOT NULL PRIMARY KEY REFERENCES project (id),
    customer   TEXT COLLATE "C"    UNIQUE,
    attempt    BIGINT NOT NULL CHECK (attempt >= 1),
    -- Rises with everything that is settled for the project: what was fetched before is not settled after it.
    settled    BIGINT NOT NULL DEFAULT 0,
    deleted    BIGINT NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    -- What the project was last paid with, and what Stripe was last told to charge from then on.
    paid_with  TEXT COLLATE "C",
    charged    TEXT COLLATE "C",
    created_ms BIGINT NOT NULL
);

-- Which of our goods a price at Stripe is for; amounts of prices never change, so rows stay true for ever.
CREATE TABLE stripe_price (
    id      TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    good    TEXT COLLATE "C"    NOT NULL,
    amount  BIGINT NOT NULL,
    current BIGINT NOT NULL CHECK (current IN (0, 1))
);

CREATE INDEX stripe_price_by_good ON stripe_price (good, current);

CREATE TABLE stripe_order (
    id          TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    project     TEXT COLLATE "C"    NOT NULL REFERENCES project (id),
    good        TEXT COLLATE "C"    NOT NULL,
    is_plan     BIGINT NOT NULL CHECK (is_plan IN (0, 1)),
    units       BIGINT NOT NULL CHECK (units >= 0),
    price       BIGINT NOT NULL,
    currency    TEXT COLLATE "C"    NOT NULL,
    price_id    TEXT COLLATE "C"    NOT NULL,
    customer    TEXT COLLATE "C"    NOT NULL,
    attempt     BIGINT NOT NULL CHECK (attempt >= 1),
    form        TEXT COLLATE "C"    NOT NULL,
    state       TEXT COLLATE "C"    NOT NULL,
    session     TEXT COLLATE "C"    UNIQUE,
    url         TEXT COLLATE "C",
    payment     TEXT COLLATE "C",
    call_id      BYTEA,
    call_request BYTEA,
    note        TEXT COLLATE "C",
    created_ms  BIGINT NOT NULL,
    expires_ms  BIGINT NOT NULL,
    due_ms      BIGINT NOT NULL
);

CREATE UNIQUE INDEX stripe_order_by_call ON stripe_order (project, call_id) WHERE call_id IS NOT NULL;
-- A second subscription is never sold while the first is being bought.
CREATE UNIQUE INDEX stripe_order_one_plan ON stripe_order (project)
    WHERE is_plan = 1 AND state IN ('new', 'open', 'processing');
CREATE INDEX stripe_order_by_payment ON stripe_order (payment);
CREATE INDEX stripe_order_unfinished ON stripe_order (due_ms) WHERE state IN ('new', 'open', 'processing');

-- The inbox: every delivery once, as it came.
CREATE TABLE stripe_event (
    id          TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    type        TEXT COLLATE "C"    NOT NULL,
    object      TEXT COLLATE "C",
    livemode    BIGINT,
    raw         BYTEA    NOT NULL,
    received_ms BIGINT NOT NULL,
    state       TEXT COLLATE "C"    NOT NULL CHECK (state IN ('pending', 'applied', 'ignored', 'parked')),
    attempts    BIGINT NOT NULL DEFAULT 0,
    due_ms      BIGINT NOT NULL,
    note        TEXT COLLATE "C"
);

CREATE INDEX stripe_event_pending ON stripe_event (due_ms, id) WHERE state = 'pending';
CREATE INDEX stripe_event_parked ON stripe_event (received_ms, id) WHERE state = 'parked';

CREATE TABLE stripe_subscription (
    project      TEXT COLLATE "C"    NOT NULL PRIMARY KEY REFERENCES project (id),
    subscription TEXT COLLATE "C"    NOT NULL,
    item         TEXT COLLATE "C"    NOT NULL,
    status       TEXT COLLATE "C"    NOT NULL,
    plan         TEXT COLLATE "C",
    pays         TEXT COLLATE "C"    NOT NULL CHECK (pays IN ('month', 'year')),
    until_ms     BIGINT,
    ends_ms      BIGINT,
    overdue_ms   BIGINT
);

-- What closed months cost, one row and one invoice each; adjustments have numbers of their own.
CREATE TABLE stripe_bill (
    project    TEXT COLLATE "C"    NOT NULL REFERENCES project (id),
    period     TEXT COLLATE "C"    NOT NULL,
    number     BIGINT NOT NULL CHECK (number >= 0),
    bill       TEXT COLLATE "C"    NOT NULL,
    amount     BIGINT NOT NULL,
    currency   TEXT COLLATE "C"    NOT NULL,
    step       TEXT COLLATE "C"    NOT NULL,
    attempt    BIGINT NOT NULL CHECK (attempt >= 1),
    customer   TEXT COLLATE "C",
    invoice    TEXT COLLATE "C"    UNIQUE,
    first_ms   BIGINT,
    overdue_ms BIGINT,
    note       TEXT COLLATE "C",
    created_ms BIGINT NOT NULL,
    due_ms     BIGINT NOT NULL,
    failures   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (project, period, number)
);

CREATE INDEX stripe_bill_due ON stripe_bill (due_ms) WHERE step IN ('due', 'drafted', 'lined');
