-- When a project's plan or standing changes by time alone: a plan that ends, a grace that is over. Never edit this
-- file once it was released: add the next number instead.
CREATE TABLE policy_turn (
    project TEXT    NOT NULL PRIMARY KEY REFERENCES project (id),
    at_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX policy_turn_by_time ON policy_turn (at_ms);
