-- Templates that their builder has taken away. The row stays, since sessions refer to
-- it. From `deleted_at` on nobody sees it and no session begins; `emptied_at` is when
-- its sessions were over and what the builder had stored with it was deleted.
ALTER TABLE agents ADD COLUMN deleted_at TIMESTAMPTZ;
ALTER TABLE agents ADD COLUMN emptied_at TIMESTAMPTZ;

CREATE INDEX agents_withdrawn ON agents (id) WHERE deleted_at IS NOT NULL AND emptied_at IS NULL;

CREATE INDEX sessions_running ON sessions (agent_id, id) WHERE status <> 'completed';
