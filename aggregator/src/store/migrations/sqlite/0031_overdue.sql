-- Why a project is past due. Never edit this file once it was released: add the next number instead.

-- As Stripe shows them; written anew whenever a subscription or a bill is settled.
CREATE TABLE stripe_overdue (
    project  TEXT    NOT NULL REFERENCES project (id),
    invoice  TEXT    NOT NULL,
    -- The month of a usage bill; a subscription has none.
    period   TEXT,
    amount   INTEGER NOT NULL,
    currency TEXT    NOT NULL,
    since_ms INTEGER NOT NULL,
    pay_at   TEXT,
    PRIMARY KEY (project, invoice)
) STRICT, WITHOUT ROWID;

-- What a customer's invoices are charged to, as Stripe last showed it.
ALTER TABLE stripe_customer ADD COLUMN default_method TEXT;

UPDATE stripe_customer SET default_method = charged;
