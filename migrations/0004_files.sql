-- The file library of a company. Names live here and only here; the bytes are in
-- the object store under `<company id>/<node id>`.

CREATE TABLE nodes (
    id           UUID        PRIMARY KEY,
    company_id   UUID        NOT NULL REFERENCES companies (id),
    parent_id    UUID        REFERENCES nodes (id),
    type         TEXT        NOT NULL CHECK (type IN ('file', 'folder')),
    name         TEXT        NOT NULL,
    -- The name as it is compared: names differ by more than case.
    name_key     TEXT        NOT NULL,
    -- `pending` until the bytes are there; nobody but the uploader knows of it.
    state        TEXT        NOT NULL CHECK (state IN ('pending', 'ready')),
    -- Where the bytes are; null for a folder.
    storage_path TEXT,
    mime_type    TEXT,
    file_size    BIGINT,
    -- The session in whose dedicated folder this lies.
    session_tag  UUID        REFERENCES sessions (id),
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL
);

CREATE INDEX nodes_parent ON nodes (parent_id);
CREATE INDEX nodes_company ON nodes (company_id, parent_id);
CREATE INDEX nodes_tag ON nodes (session_tag);
-- The root has no parent, and NULLs never collide: two indexes for one rule.
CREATE UNIQUE INDEX nodes_name ON nodes (parent_id, name_key) WHERE state = 'ready' AND parent_id IS NOT NULL;
CREATE UNIQUE INDEX nodes_root_name ON nodes (company_id, name_key) WHERE state = 'ready' AND parent_id IS NULL;

-- "Share from library": a folder grants its descendants, later ones too.
CREATE TABLE grants (
    session_id UUID        NOT NULL REFERENCES sessions (id),
    node_id    UUID        NOT NULL REFERENCES nodes (id),
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (session_id, node_id)
);

CREATE INDEX grants_node ON grants (node_id);
