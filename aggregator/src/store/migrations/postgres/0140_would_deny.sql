-- Requests that shadow mode served, though they would have been refused for the reason. No bill reads them.
ALTER TABLE denial ADD COLUMN would_deny BIGINT NOT NULL DEFAULT 0 CHECK (would_deny >= 0);
ALTER TABLE denial_day ADD COLUMN would_deny BIGINT NOT NULL DEFAULT 0 CHECK (would_deny >= 0);
