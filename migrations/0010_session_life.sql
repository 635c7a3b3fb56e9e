-- Sessions whose agent has not said yet that it is ready. A status changes a few times
-- in a session's life, so the index costs a message nothing.
CREATE INDEX sessions_provisioning ON sessions (created_at) WHERE status = 'provisioning';
