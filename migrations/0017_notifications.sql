-- What the platform has to tell a user outside of any conversation.

-- One row for each user who was ever told something: the number of the newest
-- notification. Its row is the queue for the next number, so that they can be read in
-- the order in which they were committed.
CREATE TABLE inboxes (
    user_id  UUID        PRIMARY KEY REFERENCES users (id),
    last_seq BIGINT      NOT NULL,
    told_at  TIMESTAMPTZ NOT NULL
);

CREATE INDEX inboxes_told ON inboxes (told_at);

CREATE TABLE notifications (
    user_id    UUID        NOT NULL REFERENCES users (id),
    seq        BIGINT      NOT NULL,
    id         UUID        NOT NULL UNIQUE,
    type       TEXT        NOT NULL,
    session_id UUID        REFERENCES sessions (id),
    text       TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    read_at    TIMESTAMPTZ,
    PRIMARY KEY (user_id, seq)
);

-- For the sweep.
CREATE INDEX notifications_read ON notifications (created_at) WHERE read_at IS NOT NULL;
