-- Uploads wait for their turn, and it is known which process has them in its hands.

-- The column is made anew: SQLite changes no CHECK.
ALTER TABLE components ADD COLUMN stage TEXT NOT NULL DEFAULT 'queued'
    CHECK (stage IN ('queued', 'compiling', 'ready', 'refused'));
UPDATE components SET stage = state;
ALTER TABLE components DROP COLUMN state;
ALTER TABLE components RENAME COLUMN stage TO state;

ALTER TABLE components ADD COLUMN node BYTEA;
-- When that process last said so. Those from before it did are given up.
ALTER TABLE components ADD COLUMN seen_at TIMESTAMPTZ;
UPDATE components SET seen_at = created_at;

CREATE INDEX components_unfinished ON components (seen_at)
    WHERE state IN ('queued', 'compiling');
