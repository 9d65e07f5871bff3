-- Something that is done with all members of a group, and who asked for it.
CREATE TABLE device_group_action (
    id          TEXT NOT NULL PRIMARY KEY,
    group_id    TEXT NOT NULL,
    action      TEXT NOT NULL,
    parameters  JSONB NOT NULL,
    filters     JSONB NOT NULL,
    state       TEXT NOT NULL,
    matched     BIGINT NOT NULL,
    succeeded   BIGINT NOT NULL,
    failed      BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    started_at  BIGINT,
    finished_at BIGINT,
    created_by  TEXT,
    -- As one service tells it to another.
    principal   TEXT NOT NULL,
    source      TEXT,
    request_id  TEXT NOT NULL
);
CREATE INDEX device_group_action_by_group ON device_group_action (group_id, created_at, id);
CREATE INDEX device_group_action_open ON device_group_action (created_at, id)
    WHERE finished_at IS NULL;
CREATE INDEX device_group_action_over ON device_group_action (finished_at)
    WHERE finished_at IS NOT NULL;

-- The members that an action still has to be done with.
CREATE TABLE device_group_action_member (
    action_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (action_id, device_id)
);

-- The members that it could not be done with.
CREATE TABLE device_group_action_error (
    action_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    err       TEXT NOT NULL,
    code      TEXT NOT NULL,
    PRIMARY KEY (action_id, device_id)
);
