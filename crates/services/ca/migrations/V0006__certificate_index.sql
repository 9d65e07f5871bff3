-- What certificates are found by that only their DER says: its SHA-256 in hex, NULL until it is
-- computed, and their alternative names. The service computes both for what was stored before, at
-- start and, for what a program of an older version stores meanwhile, while it runs.
ALTER TABLE certificate ADD COLUMN fingerprint TEXT;
CREATE INDEX certificate_fingerprint ON certificate (fingerprint);
CREATE INDEX certificate_unindexed ON certificate (id) WHERE fingerprint IS NULL;

CREATE TABLE certificate_san (
    certificate_id TEXT NOT NULL,
    value TEXT NOT NULL,
    value_folded TEXT NOT NULL,
    PRIMARY KEY (certificate_id, value)
);
CREATE INDEX certificate_san_value ON certificate_san (value, certificate_id);
CREATE INDEX certificate_san_folded ON certificate_san (value_folded, certificate_id);
