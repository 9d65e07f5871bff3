-- Values with when their device was registered: a value that many devices have is looked for in the part of
-- the list that has it.
CREATE TABLE device_value_dated (
    path       TEXT NOT NULL,
    value      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    device_id  TEXT NOT NULL,
    PRIMARY KEY (path, value, created_at, device_id)
);
INSERT INTO device_value_dated (path, value, created_at, device_id)
SELECT v.path, v.value, d.created_at, v.device_id
FROM device_value v JOIN device d ON d.id = v.device_id;
DROP TABLE device_value;
ALTER TABLE device_value_dated RENAME TO device_value;
CREATE INDEX device_value_by_device ON device_value (device_id);

-- Devices without an end are in the list by end, too.
DROP INDEX device_by_end;
CREATE INDEX device_by_end ON device (not_after, id, slot_status);
-- Devices of an owner by status in the order of lists. Numbers by owner and status are read from this index
-- alone; filters by owner look at the folded one, too.
DROP INDEX device_by_owner_status;
CREATE INDEX device_by_owner_status ON device (dms_owner, status, created_at, id, owner_folded);
