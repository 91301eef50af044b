-- A random number that changes whenever cells of the source's life are written: a server that wrote them last knows by
-- it that nobody has written since. Never edit this file once it was released: add the next number instead.
ALTER TABLE source ADD COLUMN cells_stamp INTEGER NOT NULL DEFAULT 0;
