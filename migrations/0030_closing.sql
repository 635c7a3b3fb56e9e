-- A company that was closed is emptied in the background; then it is done.
ALTER TABLE companies ADD COLUMN emptied_at TIMESTAMPTZ;

-- Closed before there was anything to empty: those whose only member went elsewhere.
UPDATE companies SET emptied_at = closed_at WHERE closed_at IS NOT NULL;

CREATE INDEX companies_to_empty ON companies (closed_at)
    WHERE closed_at IS NOT NULL AND emptied_at IS NULL;
