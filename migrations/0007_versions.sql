-- Which version of a component a session talks to, and receipts that can be searched.

-- Since when new sessions keep the version they begin with; null when they do not.
ALTER TABLE agents ADD COLUMN pinned_since TIMESTAMPTZ;

-- A version on trial with a share of the new sessions. The newest one of an agent
-- is shown to its builder, also when it is over.
CREATE TABLE canaries (
    id            UUID        PRIMARY KEY,
    agent_id      UUID        NOT NULL REFERENCES agents (id),
    version       BIGINT      NOT NULL,
    state         TEXT        NOT NULL CHECK (state IN ('running', 'stopped', 'promoted', 'rolled_back')),
    share_percent BIGINT      NOT NULL CHECK (share_percent BETWEEN 1 AND 99),
    trap_percent  BIGINT      NOT NULL CHECK (trap_percent BETWEEN 1 AND 100),
    min_events    BIGINT      NOT NULL CHECK (min_events > 0),
    -- Events of its sessions that came to an end, and those it failed at.
    events        BIGINT      NOT NULL DEFAULT 0,
    failures      BIGINT      NOT NULL DEFAULT 0,
    created_at    TIMESTAMPTZ NOT NULL,
    ended_at      TIMESTAMPTZ
);

CREATE INDEX canaries_agent ON canaries (agent_id, id);
CREATE UNIQUE INDEX canaries_running ON canaries (agent_id) WHERE state = 'running';

-- The version that was active when the session was opened, and the template's
-- `pinned_since` then: the session is pinned for as long as the two are equal.
ALTER TABLE sessions ADD COLUMN version BIGINT;
ALTER TABLE sessions ADD COLUMN pinned_since TIMESTAMPTZ;
-- The trial it was drawn for.
ALTER TABLE sessions ADD COLUMN canary_id UUID REFERENCES canaries (id);

-- What a receipt is searched by, and what it tells of the event.
ALTER TABLE invocations ADD COLUMN version BIGINT;
ALTER TABLE invocations ADD COLUMN event TEXT;
ALTER TABLE invocations ADD COLUMN attempt BIGINT;
-- The worst level in the log: 0 trace, 1 debug, 2 info, 3 warn, 4 error; null when
-- nothing was logged.
ALTER TABLE invocations ADD COLUMN worst BIGINT;

UPDATE invocations SET worst = CASE
    WHEN CAST(log AS TEXT) LIKE '%"level":"error"%' OR CAST(log AS TEXT) LIKE '%"level": "error"%' THEN 4
    WHEN CAST(log AS TEXT) LIKE '%"level":"warn"%' OR CAST(log AS TEXT) LIKE '%"level": "warn"%' THEN 3
    WHEN CAST(log AS TEXT) LIKE '%"level":"info"%' OR CAST(log AS TEXT) LIKE '%"level": "info"%' THEN 2
    WHEN CAST(log AS TEXT) LIKE '%"level":"debug"%' OR CAST(log AS TEXT) LIKE '%"level": "debug"%' THEN 1
    WHEN CAST(log AS TEXT) LIKE '%"level":"trace"%' OR CAST(log AS TEXT) LIKE '%"level": "trace"%' THEN 0
    END;

-- People look for what went wrong. These cost nothing where all went well.
CREATE INDEX invocations_agent_failed ON invocations (agent_id, outcome, id) WHERE outcome <> 'ok';
CREATE INDEX invocations_failed ON invocations (outcome, id) WHERE outcome <> 'ok';
CREATE INDEX invocations_agent_loud ON invocations (agent_id, id) WHERE worst >= 3;
CREATE INDEX invocations_loud ON invocations (id) WHERE worst >= 3;
