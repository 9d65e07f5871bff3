-- The renewal windows of the DMS, of devices whose groups say otherwise, in nanoseconds before the end: what
-- applies again when their groups say nothing any more.
CREATE TABLE device_dms_windows (
    device_id  TEXT NOT NULL PRIMARY KEY,
    preventive BIGINT NOT NULL,
    critical   BIGINT NOT NULL
);

-- Which revision of all groups the devices' windows should follow, and which they do.
CREATE TABLE device_group_renewal (
    id       BIGINT NOT NULL PRIMARY KEY,
    wanted   BIGINT NOT NULL,
    followed BIGINT NOT NULL
);
INSERT INTO device_group_renewal (id, wanted, followed) VALUES (1, 0, 0);
