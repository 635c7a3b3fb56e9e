-- Sessions and their logs.

CREATE TABLE sessions (
    id                   UUID        PRIMARY KEY,
    agent_id             UUID        NOT NULL REFERENCES agents (id),
    company_id           UUID        NOT NULL REFERENCES companies (id),
    member_id            UUID        NOT NULL REFERENCES members (id),
    status               TEXT        NOT NULL CHECK (status IN ('provisioning', 'active', 'paused', 'completed')),
    -- Copied from the template when the session starts.
    agent_name           TEXT        NOT NULL,
    delivery             TEXT        NOT NULL,
    billing_model        TEXT        NOT NULL CHECK (billing_model IN ('wallet', 'subscription', 'free')),
    price_cents_per_hour BIGINT      NOT NULL,
    created_at           TIMESTAMPTZ NOT NULL,
    started_at           TIMESTAMPTZ,
    ended_at             TIMESTAMPTZ,
    end_reason           TEXT,
    billed_cents         BIGINT,
    -- The number of the newest entry of the log.
    last_seq             BIGINT      NOT NULL DEFAULT 0,
    -- The lane: how many events wait or are being delivered, who drives it, until
    -- when that claim holds, and when the next event is due.
    queued               BIGINT      NOT NULL DEFAULT 0 CHECK (queued >= 0),
    lane_claim           UUID,
    lane_until           TIMESTAMPTZ,
    lane_due             TIMESTAMPTZ
);

CREATE INDEX sessions_company ON sessions (company_id, id);
-- None on what changes with every message: PostgreSQL would have to write every
-- index anew each time, and walk the dead entries ever after. Whoever looks for due
-- lanes begins at the pending events.
CREATE INDEX sessions_agent ON sessions (agent_id);

-- The log: everything a client of the session may see, numbered without a gap.
-- An entry that the agent must learn of carries the promise of its delivery
-- itself, so promise and entry are one row and cannot be parted.
CREATE TABLE events (
    session_id UUID        NOT NULL REFERENCES sessions (id),
    seq        BIGINT      NOT NULL,
    id         UUID        NOT NULL,
    type       TEXT        NOT NULL,
    body       JSONB       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- What makes a repeated reply the same reply: `<event id>:<ordinal>`, or the
    -- idempotency key of a webhook agent's call.
    reply_key  TEXT,
    -- Null when the agent is not told of this entry.
    delivery   TEXT        CHECK (delivery IN ('queued', 'running', 'delivered', 'failed', 'cancelled')),
    attempt    BIGINT      NOT NULL DEFAULT 0,
    PRIMARY KEY (session_id, seq)
);

CREATE UNIQUE INDEX events_reply_key ON events (session_id, reply_key) WHERE reply_key IS NOT NULL;

CREATE INDEX events_pending ON events (session_id, seq) WHERE delivery IN ('queued', 'running');

-- A webhook agent's reply that arrives in pieces.
CREATE TABLE drafts (
    session_id UUID        NOT NULL REFERENCES sessions (id),
    stream_id  TEXT        NOT NULL,
    message_id UUID        NOT NULL,
    content    TEXT        NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (session_id, stream_id)
);

-- What a component remembers between events; committed with the event.
CREATE TABLE agent_state (
    session_id UUID  NOT NULL REFERENCES sessions (id),
    key        TEXT  NOT NULL,
    value      BYTEA NOT NULL,
    PRIMARY KEY (session_id, key)
);

-- One row per run of a component: the receipt and what it logged.
CREATE TABLE invocations (
    id         UUID        PRIMARY KEY,
    agent_id   UUID        NOT NULL REFERENCES agents (id),
    session_id UUID        NOT NULL REFERENCES sessions (id),
    event_id   UUID        NOT NULL,
    outcome    TEXT        NOT NULL,
    receipt    JSONB       NOT NULL,
    log        JSONB       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX invocations_agent ON invocations (agent_id, id);
CREATE INDEX invocations_session ON invocations (session_id, id);

-- A browser's EventSource cannot send a header: it shows a ticket instead, once.
CREATE TABLE stream_tickets (
    hash       BYTEA       PRIMARY KEY,
    session_id UUID        NOT NULL REFERENCES sessions (id),
    expires_at TIMESTAMPTZ NOT NULL
);
