-- Slots with versioned secrets. The identity slot's state stays with its device; the other slots are
-- rows of their own. Versions of all slots are in one table.
ALTER TABLE device ADD COLUMN alias_folded TEXT NOT NULL DEFAULT '';
ALTER TABLE device ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN decommissioned_at BIGINT;
-- The active version's certificate.
ALTER TABLE device ADD COLUMN active_serial TEXT;
-- There is an identity slot, perhaps an empty one, where it has a revision.
ALTER TABLE device ADD COLUMN slot_policy JSONB;
ALTER TABLE device ADD COLUMN slot_created_at BIGINT;
ALTER TABLE device ADD COLUMN slot_updated_at BIGINT;
ALTER TABLE device ADD COLUMN slot_revision BIGINT;
-- Numbers below are not given again, though their versions are gone.
ALTER TABLE device ADD COLUMN slot_version_floor BIGINT NOT NULL DEFAULT 0;

UPDATE device SET alias_folded = lamassu_fold(alias), updated_at = created_at;
UPDATE device SET slot_revision = 1, slot_created_at = created_at, slot_updated_at = created_at,
    active_serial = (SELECT v.serial_number FROM identity_version v
        WHERE v.device_id = device.id AND v.version = device.active_version)
WHERE slot_status IS NOT NULL;

CREATE TABLE device_slot (
    device_id      TEXT NOT NULL REFERENCES device (id),
    name           TEXT NOT NULL,
    secret_type    TEXT NOT NULL,
    -- Null: no version has been active yet.
    status         TEXT,
    active_version BIGINT,
    not_after      BIGINT,
    preventive_at  BIGINT,
    critical_at    BIGINT,
    policy         JSONB NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    revision       BIGINT NOT NULL,
    -- Numbers below are not given again, though their versions are gone.
    version_floor  BIGINT NOT NULL,
    -- When time alone changes the slot's status next.
    next_due       BIGINT,
    PRIMARY KEY (device_id, name)
);
CREATE INDEX device_slot_by_next_due ON device_slot (next_due) WHERE next_due IS NOT NULL;

CREATE TABLE slot_version (
    device_id         TEXT NOT NULL REFERENCES device (id),
    slot              TEXT NOT NULL,
    version           BIGINT NOT NULL,
    state             TEXT NOT NULL,
    -- Of a certificate; its issuer's key tells those of two issuers with one number apart.
    serial_number     TEXT,
    authority_key_id  TEXT NOT NULL,
    -- What may be shown of it, as JSON.
    secret            TEXT NOT NULL,
    fingerprint       TEXT,
    -- Which public key it has, to tell a renewal from another key.
    public_key_id     TEXT,
    bind_mode         TEXT,
    created_at        BIGINT NOT NULL,
    activated_at      BIGINT,
    expires_at        BIGINT,
    superseded_at     BIGINT,
    overlap_until     BIGINT,
    -- Whether it is revoked when the overlap is over.
    revoke_after      BIGINT NOT NULL,
    revoked_at        BIGINT,
    revocation_reason TEXT,
    -- What it was before a hold, which may be released.
    before_hold       TEXT,
    -- Place in the log of the last event of its certificate that was followed.
    followed_seq      BIGINT NOT NULL,
    -- When time alone changes its state next; that of an active version is its slot's.
    next_due          BIGINT,
    PRIMARY KEY (device_id, slot, version)
);
INSERT INTO slot_version (device_id, slot, version, state, serial_number, authority_key_id, secret,
    created_at, activated_at, revoke_after, followed_seq)
SELECT v.device_id, 'identity', v.version,
    CASE WHEN v.version <> d.active_version THEN 'SUPERSEDED'
        WHEN d.slot_status IN ('EXPIRED', 'REVOKED') THEN d.slot_status ELSE 'ACTIVE' END,
    v.serial_number, v.authority_key_id, '"' || v.serial_number || '"',
    v.bound_at, v.bound_at, 0, v.followed_seq
FROM identity_version v JOIN device d ON d.id = v.device_id;
CREATE INDEX slot_version_by_serial ON slot_version (serial_number)
    WHERE serial_number IS NOT NULL;
CREATE INDEX slot_version_by_next_due ON slot_version (next_due) WHERE next_due IS NOT NULL;

-- What certificates of devices are still to be made to follow: revoked, attached, detached. A job
-- asks the CA service until it is done.
CREATE TABLE device_follow_up (
    id               TEXT NOT NULL PRIMARY KEY,
    device_id        TEXT NOT NULL,
    slot             TEXT NOT NULL,
    serial_number    TEXT NOT NULL,
    -- revoke, attach, detach
    task             TEXT NOT NULL,
    -- The task with what it needs, as JSON.
    details          TEXT NOT NULL,
    attempts         BIGINT NOT NULL,
    due_at           BIGINT NOT NULL,
    created_at       BIGINT NOT NULL
);
CREATE INDEX device_follow_up_by_due ON device_follow_up (due_at, created_at);

-- Which device has had which certificate, as lists look for elements. Serial numbers have one letter case.
CREATE VIEW certificate_of_device AS
SELECT device_id, serial_number AS value, serial_number AS value_folded
FROM slot_version WHERE serial_number IS NOT NULL;

-- History with the members that v2 shows, for its filters.
CREATE VIEW device_history AS
SELECT device_id, slot, occurred_at, event_type, description, version, actor_type, actor_id, source,
    CASE WHEN slot = '' THEN 'device' ELSE 'slot' END AS scope,
    CASE WHEN slot <> '' THEN slot END AS slot_name
FROM device_event;
