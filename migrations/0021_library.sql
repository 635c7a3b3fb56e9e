-- The library as clients use it: a trash, uploads under way, and what is counted.

-- Null: it is there. What was deleted together comes back together, and goes together.
ALTER TABLE nodes ADD COLUMN trashed_at TIMESTAMPTZ;
ALTER TABLE nodes ADD COLUMN trash_root UUID;
-- Where the bytes are when that is not `storage_path`, which is what agents are shown.
ALTER TABLE nodes ADD COLUMN object_key TEXT;

DROP INDEX nodes_name;
DROP INDEX nodes_root_name;
CREATE UNIQUE INDEX nodes_name ON nodes (parent_id, name_key)
    WHERE state = 'ready' AND trashed_at IS NULL AND parent_id IS NOT NULL;
CREATE UNIQUE INDEX nodes_root_name ON nodes (company_id, name_key)
    WHERE state = 'ready' AND trashed_at IS NULL AND parent_id IS NULL;
CREATE INDEX nodes_trash ON nodes (trash_root) WHERE trash_root IS NOT NULL;

-- What a company has, changed with every change: bytes of files, of those in the trash
-- and of uploads that wait to be completed; and nodes of each kind.
CREATE TABLE libraries (
    company_id UUID   PRIMARY KEY REFERENCES companies (id),
    bytes      BIGINT NOT NULL CHECK (bytes >= 0),
    nodes      BIGINT NOT NULL CHECK (nodes >= 0)
);

INSERT INTO libraries (company_id, bytes, nodes)
SELECT company_id, CAST(COALESCE(SUM(file_size), 0) AS BIGINT), COUNT(*) FROM nodes GROUP BY company_id;

-- A file that is to be: its node is `pending`, its bytes may be there already.
CREATE TABLE file_uploads (
    node_id    UUID        PRIMARY KEY REFERENCES nodes (id),
    company_id UUID        NOT NULL REFERENCES companies (id),
    -- Whose agent it is; null when the client itself uploads.
    session_id UUID        REFERENCES sessions (id),
    -- What came, and where it is kept until it is completed.
    object_key TEXT,
    bytes      BIGINT,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX file_uploads_company ON file_uploads (company_id);
CREATE INDEX file_uploads_expiry ON file_uploads (expires_at);

-- Objects that nothing names, or that nothing names yet: they are deleted when they are
-- due. Whatever else is in the store, a node or an upload names.
CREATE TABLE doomed_objects (
    key    TEXT        PRIMARY KEY,
    due_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX doomed_objects_due ON doomed_objects (due_at);
