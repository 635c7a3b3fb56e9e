-- Instances that are kept between the events of a session.

-- The builder's wish for this version; everything else of a version never changes.
ALTER TABLE components ADD COLUMN warm BOOLEAN NOT NULL DEFAULT FALSE;

-- No instance is kept for this session, whatever its version wishes: a builder's
-- test, which is to find what only seemed to be remembered.
ALTER TABLE sessions ADD COLUMN fresh BOOLEAN NOT NULL DEFAULT FALSE;
