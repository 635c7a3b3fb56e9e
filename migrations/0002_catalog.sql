-- Agent templates, the components behind them and their settings.

CREATE TABLE agents (
    id                   UUID        PRIMARY KEY,
    builder_id           UUID        NOT NULL REFERENCES builders (id),
    name                 TEXT        NOT NULL,
    description          TEXT        NOT NULL,
    logo_emoji           TEXT,
    themes               JSONB       NOT NULL,
    tools                JSONB       NOT NULL,
    capabilities         JSONB       NOT NULL,
    price_cents_per_hour BIGINT      NOT NULL CHECK (price_cents_per_hour >= 0),
    max_sessions         BIGINT      CHECK (max_sessions > 0),
    status               TEXT        NOT NULL CHECK (status IN ('draft', 'active')),
    delivery             TEXT        NOT NULL CHECK (delivery IN ('webhook', 'component')),
    retry_policy         TEXT        NOT NULL CHECK (retry_policy IN ('none', 'standard')),
    webhook_url          TEXT,
    -- Encrypted with the platform's key.
    webhook_secret       BYTEA,
    active_version       BIGINT,
    created_at           TIMESTAMPTZ NOT NULL,
    updated_at           TIMESTAMPTZ NOT NULL
);

CREATE INDEX agents_builder ON agents (builder_id);
CREATE INDEX agents_status ON agents (status, id);

-- What was uploaded. A version never changes once it is ready or refused.
CREATE TABLE components (
    agent_id   UUID        NOT NULL REFERENCES agents (id),
    version    BIGINT      NOT NULL,
    -- Of the bytes as they were uploaded, in lower-case hexadecimal.
    sha256     TEXT        NOT NULL,
    size_bytes BIGINT      NOT NULL,
    state      TEXT        NOT NULL CHECK (state IN ('compiling', 'ready', 'refused')),
    -- The rest of the answer: world, imports, metadata, warnings, problems, compile.
    report     JSONB       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (agent_id, version)
);

-- What a builder sets for an agent; both kinds are encrypted with the platform's
-- key, a secret is never shown again.
CREATE TABLE settings (
    agent_id   UUID        NOT NULL REFERENCES agents (id),
    key        TEXT        NOT NULL,
    secret     BOOLEAN     NOT NULL,
    value      BYTEA       NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (agent_id, key)
);
