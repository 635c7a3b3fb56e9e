-- How long an entry's body is: pages of the log end after so many bytes, however large
-- the entries are. Those written before have none, and are taken to be small.
ALTER TABLE events ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
