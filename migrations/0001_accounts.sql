-- One text for both engines. The vocabulary is small on purpose:
--   UUID, TEXT, BIGINT, BOOLEAN, BYTEA, JSONB, TIMESTAMPTZ.
-- PostgreSQL means these types literally; SQLite ignores the names and keeps
-- whatever the driver binds (BLOB for UUID and bytes, INTEGER for times).

CREATE TABLE users (
    id            UUID        PRIMARY KEY,
    -- Lower case; people type it as they like.
    email         TEXT        NOT NULL UNIQUE,
    name          TEXT        NOT NULL,
    -- argon2id, in PHC form.
    password_hash TEXT        NOT NULL,
    operator      BOOLEAN     NOT NULL DEFAULT FALSE,
    created_at    TIMESTAMPTZ NOT NULL
);

CREATE TABLE companies (
    id         UUID        PRIMARY KEY,
    name       TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- A user has one company.
CREATE TABLE members (
    id         UUID        PRIMARY KEY,
    company_id UUID        NOT NULL REFERENCES companies (id),
    user_id    UUID        NOT NULL UNIQUE REFERENCES users (id),
    role       TEXT        NOT NULL CHECK (role IN ('admin', 'member')),
    joined_at  TIMESTAMPTZ NOT NULL
);

CREATE INDEX members_company ON members (company_id);

CREATE TABLE builders (
    id           UUID        PRIMARY KEY,
    user_id      UUID        NOT NULL UNIQUE REFERENCES users (id),
    display_name TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL
);

-- Bearer tokens, by the SHA-256 of their text: a copy of this table signs nobody in.
CREATE TABLE tokens (
    hash       BYTEA       PRIMARY KEY,
    user_id    UUID        NOT NULL REFERENCES users (id),
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX tokens_user ON tokens (user_id);
