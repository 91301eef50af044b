-- The permits of its last minutes that a life of a home has told last, where its storage can be rolled back: the next
-- life issues no more than the rest of them.
ALTER TABLE source ADD COLUMN permits TEXT COLLATE "C";
