-- Uploads that are sent piece by piece and go on where they broke off (tus).

-- Beside its row in file_uploads, which has the object's key and counts all its bytes
-- from the beginning.
CREATE TABLE resumable_uploads (
    node_id      UUID    PRIMARY KEY REFERENCES file_uploads (node_id) ON DELETE CASCADE,
    length       BIGINT  NOT NULL CHECK (length >= 0),
    -- What is durable.
    received     BIGINT  NOT NULL CHECK (received BETWEEN 0 AND length),
    mime_type    TEXT    NOT NULL,
    -- As the client sent it, for the client.
    metadata     TEXT    NOT NULL,
    -- A bucket's: the number under which it keeps the parts, and an object with what came
    -- after the last of them, as parts but the last must all have the same size.
    multipart    TEXT,
    tail_key     TEXT,
    -- One writes at a time; whoever comes next asks him to stop.
    writer       UUID,
    writer_until TIMESTAMPTZ,
    wanted       BOOLEAN NOT NULL
);

-- For the sweep of those that have everything and were not completed.
CREATE INDEX resumable_uploads_full ON resumable_uploads (node_id) WHERE received = length;

-- The parts of one that a bucket keeps, and what the bucket calls them.
CREATE TABLE upload_parts (
    node_id UUID   NOT NULL REFERENCES resumable_uploads (node_id) ON DELETE CASCADE,
    part    BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    PRIMARY KEY (node_id, part)
);

-- Objects begun in parts, which a bucket keeps, and charges for, until they are put
-- together or given up. Giving one up that was put together does nothing.
CREATE TABLE multiparts (
    key    TEXT        NOT NULL,
    id     TEXT        NOT NULL,
    due_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (key, id)
);

CREATE INDEX multiparts_due ON multiparts (due_at);
