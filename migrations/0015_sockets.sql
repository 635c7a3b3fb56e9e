-- Where the socket of a session's agent is: the newest one. A session whose agent never
-- had one has no row.
CREATE TABLE sockets (
    session_id   UUID        PRIMARY KEY REFERENCES sessions (id),
    -- Tells it from those that were there before it.
    id           UUID        NOT NULL,
    -- The process that has it. Others leave the session's lane to that one.
    node         BYTEA       NOT NULL,
    connected_at TIMESTAMPTZ NOT NULL,
    -- Now and then; when it is too long ago, the process or the socket is gone.
    heard_at     TIMESTAMPTZ NOT NULL,
    -- `offline` when it is closed.
    status       TEXT        NOT NULL CHECK (status IN ('online', 'degraded', 'offline'))
);

-- What an agent says of its own schedule; always replaced as a whole.
CREATE TABLE cron_jobs (
    session_id UUID        PRIMARY KEY REFERENCES sessions (id),
    jobs       JSONB       NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
