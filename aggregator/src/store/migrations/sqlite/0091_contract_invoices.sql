-- Invoices at Stripe of contracts' documents. Never edit this file once it was released: add the next number instead.

-- The customer of a contract.
CREATE TABLE contract_customer (
    contract TEXT NOT NULL PRIMARY KEY REFERENCES contract (id),
    customer TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE contract_invoice (
    contract TEXT    NOT NULL,
    period   TEXT    NOT NULL,
    number   INTEGER NOT NULL,
    -- Which keys its calls are made with.
    attempt  INTEGER NOT NULL CHECK (attempt > 0),
    -- Its id at Stripe, once that is known.
    invoice  TEXT,
    -- Whether the audit log has it.
    noted    INTEGER NOT NULL CHECK (noted IN (0, 1)),
    begun_ms INTEGER NOT NULL,
    PRIMARY KEY (contract, period, number),
    FOREIGN KEY (contract, period, number) REFERENCES contract_document (contract, period, number)
) STRICT, WITHOUT ROWID;
