-- A device, with the current state of its identity slot (null while it has no identity).
-- Instants are microseconds since 1970.
CREATE TABLE device (
    id             TEXT NOT NULL PRIMARY KEY,
    id_folded      TEXT NOT NULL,
    alias          TEXT NOT NULL,
    tags           JSONB NOT NULL,
    status         TEXT NOT NULL,
    icon           TEXT NOT NULL,
    icon_color     TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    metadata       JSONB NOT NULL,
    dms_owner      TEXT NOT NULL,
    owner_folded   TEXT NOT NULL,
    revision       BIGINT NOT NULL,
    slot_status    TEXT,
    slot_type      TEXT,
    active_version BIGINT,
    not_after      BIGINT,
    preventive_at  BIGINT,
    critical_at    BIGINT,
    -- When time alone changes the slot's status next; null when it never does.
    next_due       BIGINT
);
CREATE INDEX device_by_creation ON device (created_at, id);
CREATE INDEX device_by_owner ON device (dms_owner, created_at, id);
CREATE INDEX device_by_status ON device (status, created_at, id);
CREATE INDEX device_by_folded_id ON device (id_folded, id);
CREATE INDEX device_by_next_due ON device (next_due) WHERE next_due IS NOT NULL;

-- Every certificate that an identity slot has ever held. The issuer's key tells certificates of
-- two issuers with one serial number apart.
CREATE TABLE identity_version (
    device_id        TEXT NOT NULL REFERENCES device (id),
    version          BIGINT NOT NULL,
    serial_number    TEXT NOT NULL,
    authority_key_id TEXT NOT NULL,
    bound_at         BIGINT NOT NULL,
    PRIMARY KEY (device_id, version)
);
CREATE INDEX identity_version_by_serial ON identity_version (serial_number);

-- History of devices and slots. It may outlive its device, so nothing refers to one.
CREATE TABLE device_event (
    device_id   TEXT NOT NULL,
    -- Empty: the device itself.
    slot        TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    event_type  TEXT NOT NULL,
    description TEXT NOT NULL,
    version     BIGINT,
    actor_type  TEXT,
    actor_id    TEXT,
    source      TEXT,
    PRIMARY KEY (device_id, slot, occurred_at)
);

-- How many devices have each status. Each process adds to a bucket of its own, so that replicas
-- never wait for each other's counters: a bucket may be negative, their sum is the number.
CREATE TABLE device_count (
    status  TEXT NOT NULL,
    bucket  BIGINT NOT NULL,
    devices BIGINT NOT NULL,
    PRIMARY KEY (status, bucket)
);
