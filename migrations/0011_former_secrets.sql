-- Signing secrets that were replaced and go on signing for a while.
CREATE TABLE former_secrets (
    agent_id UUID        NOT NULL REFERENCES agents (id),
    -- Sorts by the time of the rotation.
    number   TEXT        NOT NULL,
    -- Encrypted with the platform's key, as it was in the agent's row.
    secret   BYTEA       NOT NULL,
    until    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (agent_id, number)
);
