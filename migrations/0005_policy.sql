-- What operators decide, and the record of it.

-- Who changed what, when, from what to what. Rows are only ever added.
CREATE TABLE audit (
    id         UUID        PRIMARY KEY,
    -- Null: the platform itself.
    actor_id   UUID        REFERENCES users (id),
    -- Such as `limits.set`.
    action     TEXT        NOT NULL,
    -- `platform`, or a kind of thing and its id: `agent/<id>`.
    target     TEXT        NOT NULL,
    -- What changed and nothing else; JSON's null for what was not there.
    before     JSONB       NOT NULL,
    after      JSONB       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_target ON audit (target, id);
