-- What clients pay in, and what they see of it.

-- A payment that a client asked for.
CREATE TABLE topups (
    id            UUID        PRIMARY KEY,
    company_id    UUID        NOT NULL REFERENCES companies (id),
    -- Under which the client asked: asked again, it is the same payment.
    request_key   TEXT,
    cents         BIGINT      NOT NULL CHECK (cents > 0),
    -- The provider's name for it; null until it has answered.
    intent_id     TEXT        UNIQUE,
    client_secret TEXT,
    state         TEXT        NOT NULL CHECK (state IN ('asked', 'begun', 'succeeded', 'failed')),
    created_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    UNIQUE (company_id, request_key)
);

-- Money that came in by one charge. It is spent in the order in which it came, so that
-- each payment to a builder names a charge that covers it.
CREATE TABLE lots (
    id                 UUID        PRIMARY KEY,
    company_id         UUID        NOT NULL REFERENCES companies (id),
    -- Null: it is not known, or no longer good for anything.
    intent_id          TEXT        UNIQUE,
    charge_id          TEXT        UNIQUE,
    cents              BIGINT      NOT NULL CHECK (cents > 0),
    used               BIGINT      NOT NULL DEFAULT 0,
    -- Given back to the client at the provider, and not by this platform.
    refunded_elsewhere BIGINT      NOT NULL DEFAULT 0,
    created_at         TIMESTAMPTZ NOT NULL,
    CHECK (used BETWEEN 0 AND cents)
);

CREATE INDEX lots_open ON lots (company_id, id) WHERE used < cents;

-- What a client's money came to and went for. What is held for a session and comes back
-- from it is not among them.
CREATE TABLE wallet_transactions (
    id                  UUID        PRIMARY KEY,
    company_id          UUID        NOT NULL REFERENCES companies (id),
    posting_id          UUID        NOT NULL UNIQUE REFERENCES ledger_postings (id),
    type                TEXT        NOT NULL CHECK (type IN
        ('topup', 'session_charge', 'refund', 'adjustment', 'dispute')),
    amount_cents        BIGINT      NOT NULL,
    balance_after_cents BIGINT      NOT NULL,
    session_id          UUID        REFERENCES sessions (id),
    created_at          TIMESTAMPTZ NOT NULL
);

CREATE INDEX wallet_transactions_company ON wallet_transactions (company_id, id);

-- What the provider has told, before it is answered. Applied once, in whatever order.
CREATE TABLE provider_events (
    id          TEXT        PRIMARY KEY,
    type        TEXT        NOT NULL,
    payload     TEXT        NOT NULL,
    -- When it happened there, and when it came here.
    created_at  TIMESTAMPTZ NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    -- Applied; of a type that means nothing here; or not understood, for an operator.
    state       TEXT        NOT NULL CHECK (state IN ('waiting', 'applied', 'ignored', 'odd')),
    error       TEXT,
    -- The next try.
    due_at      TIMESTAMPTZ
);

CREATE INDEX provider_events_due ON provider_events (due_at) WHERE state = 'waiting';
