-- What months of contracts came to. Never edit this file once it was released: add the next number instead.

-- Where invoices go, as JSON.
ALTER TABLE contract ADD COLUMN buyer TEXT NOT NULL DEFAULT '{}';

CREATE TABLE contract_waiver (
    contract TEXT    NOT NULL REFERENCES contract (id),
    period   TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (contract, period)
) STRICT, WITHOUT ROWID;

-- Invoices and what was put right about them; only ever inserted.
CREATE TABLE contract_document (
    contract TEXT    NOT NULL REFERENCES contract (id),
    period   TEXT    NOT NULL,
    number   INTEGER NOT NULL,
    document TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (contract, period, number)
) STRICT, WITHOUT ROWID;
