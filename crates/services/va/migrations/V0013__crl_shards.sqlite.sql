-- CRLs of shards: parts of the certificates of a CA, by the last two octets of their serial numbers.
-- How many the CA has; null without any. Then its complete CRLs are made by their interval only.
ALTER TABLE va_role ADD COLUMN crl_shards BIGINT;

CREATE TABLE va_shard (
    ca_ski      TEXT NOT NULL,
    -- Of how many it is one, and which one, from 0 on. A key may have been in CAs with other numbers of shards,
    -- whose certificates name shards of those.
    n_shards    BIGINT NOT NULL,
    part        BIGINT NOT NULL,
    -- As in va_role; shards count their CRLs each for itself.
    crl_number  BIGINT NOT NULL DEFAULT 0,
    this_update BIGINT NOT NULL DEFAULT 0,
    next_update BIGINT NOT NULL DEFAULT 0,
    crl_file    TEXT NOT NULL DEFAULT '',
    crl_digest  TEXT NOT NULL DEFAULT '',
    changes     BIGINT NOT NULL DEFAULT 0,
    next_due    BIGINT,
    PRIMARY KEY (ca_ski, n_shards, part)
);
CREATE INDEX va_shard_by_next_due ON va_shard (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX va_shard_first ON va_shard (ca_ski, n_shards) WHERE part = 0;

-- The last two octets of the serial number.
ALTER TABLE va_revoked ADD COLUMN bucket BIGINT NOT NULL DEFAULT 0;
UPDATE va_revoked SET bucket =
    (instr('0123456789abcdef', substr('0000' || serial_number, -4, 1)) - 1) * 4096
    + (instr('0123456789abcdef', substr('0000' || serial_number, -3, 1)) - 1) * 256
    + (instr('0123456789abcdef', substr('0000' || serial_number, -2, 1)) - 1) * 16
    + instr('0123456789abcdef', substr('0000' || serial_number, -1, 1)) - 1;
CREATE INDEX va_revoked_by_bucket ON va_revoked (ca_id, bucket);
