-- A group of devices. What a member fulfils is a list of {"field", "operand", "value"}, the operand as
-- its number.
CREATE TABLE device_group (
    id                TEXT NOT NULL PRIMARY KEY,
    name              TEXT NOT NULL,
    name_folded       TEXT NOT NULL,
    description       TEXT NOT NULL,
    parent_id         TEXT REFERENCES device_group (id),
    -- A root is at 1.
    depth             BIGINT NOT NULL,
    priority          BIGINT NOT NULL,
    criteria          JSONB NOT NULL,
    policies          JSONB NOT NULL,
    notify_membership BOOLEAN NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    revision          BIGINT NOT NULL
);
CREATE UNIQUE INDEX device_group_by_name ON device_group (name);
CREATE INDEX device_group_by_folded_name ON device_group (name_folded, name, id);
CREATE INDEX device_group_by_parent ON device_group (parent_id);
CREATE INDEX device_group_by_creation ON device_group (created_at, id);

-- Counts the changes of all groups together: what one change may assume about the others (that nothing
-- becomes a circle, for one) is that none of them changed meanwhile.
CREATE TABLE device_group_tree (
    id       BIGINT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);
INSERT INTO device_group_tree (id, revision) VALUES (1, 0);
