-- Why a project is past due. Never edit this file once it was released: add the next number instead.

-- As Stripe shows them; written anew whenever a subscription or a bill is settled.
CREATE TABLE stripe_overdue (
    project  TEXT COLLATE "C"    NOT NULL REFERENCES project (id),
    invoice  TEXT COLLATE "C"    NOT NULL,
    -- The month of a usage bill; a subscription has none.
    period   TEXT COLLATE "C",
    amount   BIGINT NOT NULL,
    currency TEXT COLLATE "C"    NOT NULL,
    since_ms BIGINT NOT NULL,
    pay_at   TEXT COLLATE "C",
    PRIMARY KEY (project, invoice)
);

-- What a customer's invoices are charged to, as Stripe last showed it.
ALTER TABLE stripe_customer ADD COLUMN default_method TEXT COLLATE "C";

UPDATE stripe_customer SET default_method = charged;
