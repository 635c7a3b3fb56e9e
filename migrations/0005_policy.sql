-- What operators decide, and the record of it.

-- Who changed what, when, from what to what. Rows are only ever added.
CREATE TABLE audit (
    id         UUID        PRIMARY KEY,
    -- Null: the platform itself.
    actor_id   UUID        REFERENCES users (id),
    -- Such as `limits.set`.
    action     TEXT        NOT NULL,
    -- `platform`, or a kind of thing and its id: `agent/<id>`.
    target     TEXT        NOT NULL,
    -- What changed and nothing else; JSON's null for what was not there.
    before     JSONB       NOT NULL,
    after      JSONB       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_target ON audit (target, id);

-- The limits that operators have set for the whole platform: an object with those
-- and no others. What it leaves out is as the process was started. One row, which is
-- also the queue for everybody who changes limits.
CREATE TABLE policy (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    limits JSONB  NOT NULL
);

INSERT INTO policy (id, limits) VALUES (1, '{}');

-- The same for single agents; what an object leaves out is as in `policy`.
CREATE TABLE agent_limits (
    agent_id UUID  PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    limits   JSONB NOT NULL
);

-- Documents and secrets that a client hands to one session.
CREATE TABLE shared_items (
    id         UUID        PRIMARY KEY,
    session_id UUID        NOT NULL REFERENCES sessions (id),
    type       TEXT        NOT NULL CHECK (type IN ('document', 'secret')),
    name       TEXT        NOT NULL,
    -- Encrypted with the platform's key; null for a secret whose session is over.
    content    BYTEA,
    -- Of the content before it was encrypted.
    size_bytes BIGINT      NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX shared_items_session ON shared_items (session_id, id);
-- A secret is asked for by its name.
CREATE UNIQUE INDEX shared_items_secret ON shared_items (session_id, name) WHERE type = 'secret';
