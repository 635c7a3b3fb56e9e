-- Whose template a session is with, copied when it starts: so a builder's sessions are
-- found without a look at all his templates. Null: a template of the platform's own,
-- behind which nobody can be spoken to.
ALTER TABLE sessions ADD COLUMN builder_id UUID REFERENCES builders (id);

UPDATE sessions SET builder_id =
    (SELECT agents.builder_id FROM agents WHERE agents.id = sessions.agent_id);

-- A builder looks at all his sessions, at those of one agent, or at the few that run.
CREATE INDEX sessions_builder ON sessions (builder_id, id);
CREATE INDEX sessions_builder_running ON sessions (builder_id, id) WHERE status <> 'completed';
DROP INDEX sessions_agent;
CREATE INDEX sessions_agent ON sessions (agent_id, id);

-- They are few among many messages.
CREATE INDEX events_direct ON events (session_id, seq) WHERE type = 'direct_message';
