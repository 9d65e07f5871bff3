-- What the validation authority does for one CA, and its newest CRL.
-- Instants are microseconds since 1970, durations nanoseconds.
CREATE TABLE va_role (
    ca_ski                TEXT NOT NULL PRIMARY KEY,
    ca_id                 TEXT NOT NULL,
    created_at            BIGINT NOT NULL,
    refresh_interval      BIGINT NOT NULL,
    validity              BIGINT NOT NULL,
    subject_key_id_signer TEXT NOT NULL,
    regenerate_on_revoke  BOOLEAN NOT NULL,
    -- 0 before the first CRL; grows by one with each.
    crl_number            BIGINT NOT NULL,
    this_update           BIGINT NOT NULL,
    next_update           BIGINT NOT NULL,
    -- Name of the newest CRL's file in the folder of the role, and the SHA-256 of its DER, hex.
    crl_file              TEXT NOT NULL,
    crl_digest            TEXT NOT NULL,
    -- Counts the changes of the entries in va_revoked.
    changes               BIGINT NOT NULL,
    -- When the next CRL must be made; null while none is ever due.
    next_due              BIGINT
);
CREATE INDEX va_role_by_creation ON va_role (created_at, ca_ski);
CREATE INDEX va_role_by_next_due ON va_role (next_due) WHERE next_due IS NOT NULL;

-- The certificates that are revoked now, by the CA that issued them.
CREATE TABLE va_revoked (
    ca_id         TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    revoked_at    BIGINT NOT NULL,
    -- Code of CRLReason.
    reason        BIGINT NOT NULL,
    valid_to      BIGINT NOT NULL,
    PRIMARY KEY (ca_id, serial_number)
);
