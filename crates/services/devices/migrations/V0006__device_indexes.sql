-- What lists of devices are filtered and sorted by most.
CREATE INDEX device_by_end ON device (not_after, id, slot_status) WHERE not_after IS NOT NULL;
-- Numbers by status are read from this index alone.
CREATE INDEX device_by_owner_status ON device (dms_owner, status);
CREATE INDEX device_by_folded_alias ON device (alias_folded, alias, id);
CREATE INDEX device_by_update ON device (updated_at, id);
CREATE INDEX device_by_active_serial ON device (active_serial) WHERE active_serial IS NOT NULL;

-- Which devices have a tag (path 'tags'), or a value at a declared path in their metadata. A row too many
-- costs a look; the device itself is compared in the end.
CREATE TABLE device_value (
    path      TEXT NOT NULL,
    value     TEXT NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (path, value, device_id)
);
CREATE INDEX device_value_by_device ON device_value (device_id);

-- The paths whose values are in that table: up to which device, and whether of all.
CREATE TABLE device_value_path (
    path     TEXT NOT NULL PRIMARY KEY,
    done_to  TEXT NOT NULL,
    complete BIGINT NOT NULL
);
