-- Invoices at Stripe of contracts' documents. Never edit this file once it was released: add the next number instead.

-- The customer of a contract.
CREATE TABLE contract_customer (
    contract TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES contract (id),
    customer TEXT COLLATE "C" NOT NULL
);

CREATE TABLE contract_invoice (
    contract TEXT COLLATE "C" NOT NULL,
    period   TEXT COLLATE "C" NOT NULL,
    number   BIGINT NOT NULL,
    -- Which keys its calls are made with.
    attempt  BIGINT NOT NULL CHECK (attempt > 0),
    -- Its id at Stripe, once that is known.
    invoice  TEXT COLLATE "C",
    -- Whether the audit log has it.
    noted    BIGINT NOT NULL CHECK (noted IN (0, 1)),
    begun_ms BIGINT NOT NULL,
    PRIMARY KEY (contract, period, number),
    FOREIGN KEY (contract, period, number) REFERENCES contract_document (contract, period, number)
);
