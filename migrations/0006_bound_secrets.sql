-- The sites to which the host may send a secret; empty for one that the component
-- may read itself.
ALTER TABLE settings ADD COLUMN sites JSONB NOT NULL DEFAULT '[]';
