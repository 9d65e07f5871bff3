-- Delta CRLs: null where there are none. They share the numbers of the complete CRLs.
ALTER TABLE va_role ADD COLUMN delta_validity BIGINT;
ALTER TABLE va_role ADD COLUMN last_number BIGINT NOT NULL DEFAULT 0;
UPDATE va_role SET last_number = crl_number;
-- When the entries of the newest complete CRL were read; 0 is before this was noted.
ALTER TABLE va_role ADD COLUMN covered_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE va_role ADD COLUMN delta_number BIGINT NOT NULL DEFAULT 0;
ALTER TABLE va_role ADD COLUMN delta_this_update BIGINT NOT NULL DEFAULT 0;
ALTER TABLE va_role ADD COLUMN delta_next_update BIGINT NOT NULL DEFAULT 0;
ALTER TABLE va_role ADD COLUMN delta_file TEXT NOT NULL DEFAULT '';
ALTER TABLE va_role ADD COLUMN delta_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE va_role ADD COLUMN delta_due BIGINT;
CREATE INDEX va_role_by_delta_due ON va_role (delta_due) WHERE delta_due IS NOT NULL;

-- When the entry became what it is.
ALTER TABLE va_revoked ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX va_revoked_by_change ON va_revoked (ca_id, changed_at);

-- Certificates whose hold was released, until a complete CRL was made without them.
CREATE TABLE va_released (
    ca_id         TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    released_at   BIGINT NOT NULL,
    PRIMARY KEY (ca_id, serial_number)
);
CREATE INDEX va_released_by_time ON va_released (ca_id, released_at);
