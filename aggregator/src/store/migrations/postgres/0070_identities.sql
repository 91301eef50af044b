-- People who sign in by an identity provider. Never edit this file once it was released: add the next number instead.

-- Who somebody is there, whatever address the person has by then: an address may be given to somebody else.
CREATE TABLE identity (
    issuer   TEXT COLLATE "C" NOT NULL,
    subject  TEXT COLLATE "C" NOT NULL,
    account  TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    bound_ms BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);

CREATE UNIQUE INDEX identity_by_account ON identity (account, issuer);

-- Sign-ins that came back, so that none comes back twice.
CREATE TABLE errand_done (
    state TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);

CREATE INDEX errand_done_by_age ON errand_done (at_ms);

ALTER TABLE session DROP CONSTRAINT session_way_check;

ALTER TABLE session ADD CONSTRAINT session_way_check CHECK (way IN ('password', 'link', 'invitation', 'provider'));
