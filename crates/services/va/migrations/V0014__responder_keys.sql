-- The keys of delegated OCSP responders in the KMS. A row is there before its key, so that what a crash left is
-- found by the operation.
CREATE TABLE va_responder_key (
    ca_id     TEXT NOT NULL PRIMARY KEY,
    operation TEXT NOT NULL,
    -- Null while the key is made.
    key_id    TEXT,
    begun_at  BIGINT NOT NULL
);
