-- People: how they signed in, the keys and links that were given to them, what is
-- mailed to them.

-- Everybody signs in once more: what is kept of a sign-in says more than it did.
DROP TABLE tokens;

CREATE TABLE sign_ins (
    id         UUID        PRIMARY KEY,
    -- SHA-256 of the token's text: a copy of this table signs nobody in.
    hash       BYTEA       NOT NULL UNIQUE,
    user_id    UUID        NOT NULL REFERENCES users (id),
    -- What the program called itself, and where it called from.
    agent      TEXT        NOT NULL,
    address    TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- Kept to some minutes.
    seen_at    TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX sign_ins_user ON sign_ins (user_id);
CREATE INDEX sign_ins_expiry ON sign_ins (expires_at);

-- What a user's programs show instead of signing in.
CREATE TABLE api_keys (
    id         UUID        PRIMARY KEY,
    hash       BYTEA       NOT NULL UNIQUE,
    user_id    UUID        NOT NULL REFERENCES users (id),
    name       TEXT        NOT NULL,
    -- How its text begins, so that people can tell their keys apart.
    start      TEXT        NOT NULL,
    -- A list of texts such as `sessions:write`.
    scopes     JSONB       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    seen_at    TIMESTAMPTZ
);

CREATE INDEX api_keys_user ON api_keys (user_id);

-- A second factor: sealed, and only in force once a code of it was shown.
ALTER TABLE users ADD COLUMN totp_sealed BYTEA;
ALTER TABLE users ADD COLUMN totp_since TIMESTAMPTZ;
-- The last half minute whose code was used: none is good twice.
ALTER TABLE users ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0;

-- For whoever has lost the second factor: SHA-256 of each.
CREATE TABLE recovery_codes (
    user_id UUID  NOT NULL REFERENCES users (id),
    hash    BYTEA NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- Links that were mailed. Their tokens are derived from the platform's key.
CREATE TABLE links (
    id         UUID        PRIMARY KEY,
    kind       TEXT        NOT NULL CHECK (kind IN ('password', 'email')),
    user_id    UUID        NOT NULL REFERENCES users (id),
    -- The address that becomes the user's.
    email      TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    used_at    TIMESTAMPTZ
);

CREATE INDEX links_user ON links (user_id);
CREATE INDEX links_expiry ON links (expires_at);

CREATE TABLE invitations (
    id          UUID        PRIMARY KEY,
    company_id  UUID        NOT NULL REFERENCES companies (id),
    email       TEXT        NOT NULL,
    role        TEXT        NOT NULL CHECK (role IN ('admin', 'member')),
    invited_by  UUID        NOT NULL REFERENCES users (id),
    -- Counts the links that were mailed; only the last one is good.
    link        BIGINT      NOT NULL DEFAULT 1,
    state       TEXT        NOT NULL CHECK (state IN ('pending', 'accepted', 'cancelled')),
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ NOT NULL,
    accepted_at TIMESTAMPTZ
);

CREATE INDEX invitations_company ON invitations (company_id, id);
CREATE UNIQUE INDEX invitations_pending ON invitations (company_id, email)
    WHERE state = 'pending';

-- What is to be mailed, written in the transaction that gives reason to it.
CREATE TABLE mails (
    id         UUID        PRIMARY KEY,
    email      TEXT        NOT NULL,
    -- What it says, without the secret of its link.
    content    JSONB       NOT NULL,
    -- 'shown': there is no mail server, the operator passes it on.
    state      TEXT        NOT NULL CHECK (state IN ('due', 'sent', 'failed', 'shown')),
    attempts   BIGINT      NOT NULL DEFAULT 0,
    due_at     TIMESTAMPTZ NOT NULL,
    error      TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    sent_at    TIMESTAMPTZ
);

CREATE INDEX mails_due ON mails (due_at) WHERE state = 'due';

-- Kinds of notifications that a user does not want by mail.
ALTER TABLE users ADD COLUMN unmailed JSONB NOT NULL DEFAULT '[]';

-- Set by an operator: a company that may look and not act.
ALTER TABLE companies ADD COLUMN suspended_at TIMESTAMPTZ;
-- Nobody is in it any more.
ALTER TABLE companies ADD COLUMN closed_at TIMESTAMPTZ;
-- Set by an operator: an agent that nobody can rent.
ALTER TABLE agents ADD COLUMN suspended_at TIMESTAMPTZ;
-- The sign-in or key by which a ticket was asked for: it ends what it began.
ALTER TABLE stream_tickets ADD COLUMN via UUID;
