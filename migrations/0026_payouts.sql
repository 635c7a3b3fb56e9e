-- Money that goes out: to builders, and back to clients.

-- A builder's account at the provider.
CREATE TABLE payees (
    builder_id UUID        PRIMARY KEY REFERENCES builders (id),
    account_id TEXT        NOT NULL UNIQUE,
    -- It can be sent money, and has told the provider all that it wanted to know.
    payable    BOOLEAN     NOT NULL DEFAULT FALSE,
    submitted  BOOLEAN     NOT NULL DEFAULT FALSE,
    -- When that was so.
    told_at    TIMESTAMPTZ
);

-- What a session earned its builder, of the money of one lot.
CREATE TABLE transfers (
    id             UUID        PRIMARY KEY,
    builder_id     UUID        NOT NULL REFERENCES builders (id),
    session_id     UUID        NOT NULL REFERENCES sessions (id),
    lot_id         UUID        REFERENCES lots (id),
    cents          BIGINT      NOT NULL CHECK (cents > 0),
    -- Parked: the account cannot be paid. Claimed: somebody asks the provider, until it is
    -- due again. Unknown: nobody knows whether the provider has done it.
    state          TEXT        NOT NULL CHECK (state IN
        ('waiting', 'parked', 'claimed', 'unknown', 'done')),
    -- Each has its own key; the next begins when the one before certainly failed.
    generation     BIGINT      NOT NULL DEFAULT 0,
    tries          BIGINT      NOT NULL DEFAULT 0,
    -- Of this generation.
    first_tried_at TIMESTAMPTZ,
    due_at         TIMESTAMPTZ,
    -- The process that asks, or asked last.
    node           BYTEA,
    provider_id    TEXT        UNIQUE,
    reversed_cents BIGINT      NOT NULL DEFAULT 0,
    -- Why it was not done.
    reason         TEXT,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL,
    UNIQUE (session_id, lot_id),
    CHECK (reversed_cents BETWEEN 0 AND cents)
);

CREATE INDEX transfers_due ON transfers (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX transfers_builder ON transfers (builder_id, id);
CREATE INDEX transfers_parked ON transfers (builder_id) WHERE state = 'parked';

-- What a client gets back of one lot.
CREATE TABLE refunds (
    id             UUID        PRIMARY KEY,
    company_id     UUID        NOT NULL REFERENCES companies (id),
    lot_id         UUID        NOT NULL REFERENCES lots (id),
    cents          BIGINT      NOT NULL CHECK (cents > 0),
    -- Pending: the provider is at it.
    state          TEXT        NOT NULL CHECK (state IN
        ('waiting', 'claimed', 'unknown', 'pending', 'done', 'failed')),
    tries          BIGINT      NOT NULL DEFAULT 0,
    first_tried_at TIMESTAMPTZ,
    due_at         TIMESTAMPTZ,
    node           BYTEA,
    provider_id    TEXT        UNIQUE,
    reason         TEXT,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL
);

CREATE INDEX refunds_due ON refunds (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refunds_company ON refunds (company_id, id);
CREATE INDEX refunds_lot ON refunds (lot_id);

-- A charge that a client took back through his bank.
CREATE TABLE disputes (
    id          TEXT        PRIMARY KEY,
    company_id  UUID        NOT NULL REFERENCES companies (id),
    lot_id      UUID        NOT NULL REFERENCES lots (id),
    cents       BIGINT      NOT NULL,
    status      TEXT        NOT NULL,
    -- What was in the wallet when it was taken; the rest had been spent.
    taken_cents BIGINT,
    returned    BOOLEAN     NOT NULL DEFAULT FALSE,
    closed_at   TIMESTAMPTZ,
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL
);

CREATE INDEX disputes_company ON disputes (company_id);

-- How far something that looks at everything has come.
CREATE TABLE sweeps (
    name TEXT        PRIMARY KEY,
    at   TIMESTAMPTZ NOT NULL
);
