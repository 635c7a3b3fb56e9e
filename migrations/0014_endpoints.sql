-- Webhooks that do not answer well, or did not lately. One that always does has no row.
CREATE TABLE endpoints (
    agent_id        UUID        PRIMARY KEY REFERENCES agents (id),
    -- The first failure since the last success, and how many there were.
    failing_since   TIMESTAMPTZ NOT NULL,
    failures        BIGINT      NOT NULL,
    -- The breaker: nothing is sent until then. Whoever comes first afterwards moves it
    -- on and sends one event, alone.
    held_until      TIMESTAMPTZ,
    probing         BOOLEAN     NOT NULL DEFAULT FALSE,
    -- How often in a row it was opened: each time for twice as long.
    trips           BIGINT      NOT NULL DEFAULT 0,
    -- Nothing is sent until its builder enables it.
    disabled_at     TIMESTAMPTZ,
    disabled_reason TEXT        CHECK (disabled_reason IN ('gone', 'failing')),
    -- Its builder was told that it is disabled.
    told            BOOLEAN     NOT NULL DEFAULT FALSE,
    -- It answers well again. Readers who heard otherwise are told when they come back.
    recovered_at    TIMESTAMPTZ
);

-- The client was told that its agent cannot be reached, and not yet that it can.
ALTER TABLE sessions ADD COLUMN failing BOOLEAN NOT NULL DEFAULT FALSE;

-- Why there was a try: the lane came to it, its builder asked for it again, or it was
-- an event made up to test the webhook.
ALTER TABLE attempts ADD COLUMN cause TEXT NOT NULL DEFAULT 'lane' CHECK (cause IN ('lane', 'replay', 'test'));

-- Its builder has asked for this event again.
ALTER TABLE events ADD COLUMN replayed BOOLEAN NOT NULL DEFAULT FALSE;

-- Dead events of a span of time, asked for again: how far that has come.
CREATE TABLE replays (
    id          UUID        PRIMARY KEY,
    agent_id    UUID        NOT NULL REFERENCES agents (id),
    -- Of this session only.
    session_id  UUID,
    since       TIMESTAMPTZ NOT NULL,
    until       TIMESTAMPTZ NOT NULL,
    state       TEXT        NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    -- Tries that there were, those whose event was put back, and those where it was not
    -- to be.
    total       BIGINT      NOT NULL,
    replayed    BIGINT      NOT NULL DEFAULT 0,
    skipped     BIGINT      NOT NULL DEFAULT 0,
    -- The last try that was looked at.
    last_seen   UUID,
    created_at  TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ
);

CREATE INDEX replays_agent ON replays (agent_id, id);
CREATE INDEX replays_running ON replays (id) WHERE state = 'running';
