-- Requests that were sent under a name, and what they were answered: a day long.
CREATE TABLE idempotency_keys (
    -- A digest of who asked and of the name he gave it.
    id          BYTEA       PRIMARY KEY,
    -- Of the request: the same name for another one is a mistake.
    fingerprint BYTEA       NOT NULL,
    -- The process that is at it.
    node        BYTEA       NOT NULL,
    -- Null while it is being worked on.
    status      BIGINT,
    -- What goes with the status, sealed: it may be a secret that is told once.
    answer      BYTEA,
    created_at  TIMESTAMPTZ NOT NULL
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
