-- One row for each time an event was sent to a webhook, written with what follows from
-- its outcome.
CREATE TABLE attempts (
    id              UUID        PRIMARY KEY,
    agent_id        UUID        NOT NULL REFERENCES agents (id),
    session_id      UUID        NOT NULL,
    event_id        UUID        NOT NULL,
    event           TEXT        NOT NULL,
    attempt         BIGINT      NOT NULL,
    outcome         TEXT        NOT NULL CHECK (outcome IN ('delivered', 'retrying', 'dead')),
    -- What was sent and what came back, without tokens and signatures.
    exchange        JSONB       NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    next_attempt_at TIMESTAMPTZ
);

CREATE INDEX attempts_agent ON attempts (agent_id, id);
CREATE INDEX attempts_session ON attempts (session_id, id);
