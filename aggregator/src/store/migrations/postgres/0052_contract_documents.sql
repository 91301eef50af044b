-- What months of contracts came to. Never edit this file once it was released: add the next number instead.

-- Where invoices go, as JSON.
ALTER TABLE contract ADD COLUMN buyer TEXT COLLATE "C" NOT NULL DEFAULT '{}';

CREATE TABLE contract_waiver (
    contract TEXT COLLATE "C"    NOT NULL REFERENCES contract (id),
    period   TEXT COLLATE "C"    NOT NULL,
    reason   TEXT COLLATE "C"    NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (contract, period)
);

-- Invoices and what was put right about them; only ever inserted.
CREATE TABLE contract_document (
    contract TEXT COLLATE "C"    NOT NULL REFERENCES contract (id),
    period   TEXT COLLATE "C"    NOT NULL,
    number   BIGINT NOT NULL,
    document TEXT COLLATE "C"    NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (contract, period, number)
);
