-- What sessions cost. Price and fee are those of the moment in which the session was
-- opened.

ALTER TABLE companies ADD COLUMN billing_model TEXT NOT NULL DEFAULT 'wallet';
-- Since when its wallet is good for nothing, because a payment into it is disputed.
ALTER TABLE companies ADD COLUMN frozen_at TIMESTAMPTZ;
ALTER TABLE companies ADD COLUMN logo_url TEXT;
-- How many invoices it has: the next one's number follows.
ALTER TABLE companies ADD COLUMN invoices BIGINT NOT NULL DEFAULT 0;

-- A session that is paid from the wallet, while it is not settled.
CREATE TABLE session_charges (
    session_id       UUID        PRIMARY KEY REFERENCES sessions (id),
    company_id       UUID        NOT NULL REFERENCES companies (id),
    -- Null: the agent is the platform's own.
    builder_id       UUID        REFERENCES builders (id),
    price_cents      BIGINT      NOT NULL CHECK (price_cents >= 0),
    fee_basis_points BIGINT      NOT NULL,
    -- What it costs at least once it was active.
    least_cents      BIGINT      NOT NULL,
    -- Hours that were held, and what they come to.
    hours            BIGINT      NOT NULL,
    held_cents       BIGINT      NOT NULL,
    -- The end of the last of them; null until the session is active.
    paid_until       TIMESTAMPTZ,
    -- Time that passed before the next hour could be held because the platform was away:
    -- it is not the client's to pay.
    free_millis      BIGINT      NOT NULL DEFAULT 0,
    warned           BOOLEAN     NOT NULL DEFAULT FALSE
);

CREATE INDEX session_charges_due ON session_charges (paid_until);

CREATE TABLE invoices (
    id                   UUID        PRIMARY KEY,
    company_id           UUID        NOT NULL REFERENCES companies (id),
    -- Counts the company's from one, without gaps.
    number               BIGINT      NOT NULL,
    session_id           UUID        NOT NULL UNIQUE REFERENCES sessions (id),
    -- Null: the agent is the platform's own.
    builder_id           UUID        REFERENCES builders (id),
    agent_name           TEXT        NOT NULL,
    duration_millis      BIGINT      NOT NULL,
    price_cents          BIGINT      NOT NULL,
    total_cents          BIGINT      NOT NULL CHECK (total_cents > 0),
    platform_fee_cents   BIGINT      NOT NULL,
    builder_payout_cents BIGINT      NOT NULL,
    created_at           TIMESTAMPTZ NOT NULL,
    UNIQUE (company_id, number),
    CHECK (platform_fee_cents + builder_payout_cents = total_cents)
);

CREATE INDEX invoices_builder ON invoices (builder_id, id);
