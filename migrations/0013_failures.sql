-- How many tries of an event have failed. Not the same as `attempt`, which also counts
-- those that the platform itself broke off when it died.
ALTER TABLE events ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
