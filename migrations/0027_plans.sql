-- Seats instead of hours.

CREATE TABLE plans (
    id                   UUID        PRIMARY KEY,
    name                 TEXT        NOT NULL,
    billing_interval     TEXT        NOT NULL CHECK (billing_interval IN ('month', 'year')),
    price_per_seat_cents BIGINT      NOT NULL CHECK (price_per_seat_cents >= 0),
    -- Sessions at a time, for each seat.
    max_active_sessions  BIGINT      NOT NULL CHECK (max_active_sessions > 0),
    -- The provider's name for its price; null until somebody wants it.
    price_id             TEXT        UNIQUE,
    archived_at          TIMESTAMPTZ,
    created_at           TIMESTAMPTZ NOT NULL
);

-- A company, as the provider knows who pays.
CREATE TABLE customers (
    company_id  UUID PRIMARY KEY REFERENCES companies (id),
    customer_id TEXT NOT NULL UNIQUE
);

CREATE TABLE subscriptions (
    id                   UUID        PRIMARY KEY,
    company_id           UUID        NOT NULL REFERENCES companies (id),
    plan_id              UUID        NOT NULL REFERENCES plans (id),
    seats                BIGINT      NOT NULL CHECK (seats > 0),
    -- The provider's words; only an active one is good for sessions.
    status               TEXT        NOT NULL,
    current_period_end   TIMESTAMPTZ,
    cancel_at_period_end BOOLEAN     NOT NULL DEFAULT FALSE,
    -- Under which it was asked for.
    request_key          TEXT,
    provider_id          TEXT        UNIQUE,
    item_id              TEXT,
    client_secret        TEXT,
    -- Of the newest thing told of its status, and of the rest.
    status_at            TIMESTAMPTZ,
    status_rank          BIGINT      NOT NULL DEFAULT 0,
    details_at           TIMESTAMPTZ,
    -- Since when it is not good for sessions although it was.
    lapsed_at            TIMESTAMPTZ,
    -- When its state at the provider is looked at.
    due_at               TIMESTAMPTZ,
    created_at           TIMESTAMPTZ NOT NULL
);

-- One at a time.
CREATE UNIQUE INDEX subscriptions_company ON subscriptions (company_id)
    WHERE status <> 'canceled';
CREATE INDEX subscriptions_due ON subscriptions (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX subscriptions_lapsed ON subscriptions (lapsed_at) WHERE lapsed_at IS NOT NULL;
CREATE INDEX sessions_of_plans ON sessions (company_id)
    WHERE billing_model = 'subscription' AND status <> 'completed';
