-- Requests for CAs that somebody else certifies. operation_id names the key that was made for a
-- request, and is NULL where the key existed before: what is deleted with the request is that key only.
CREATE TABLE ca_request (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    engine_id TEXT NOT NULL,
    operation_id TEXT,
    subject JSONB NOT NULL,
    subject_common_name TEXT NOT NULL,
    subject_common_name_folded TEXT NOT NULL,
    key_metadata JSONB NOT NULL,
    metadata JSONB NOT NULL,
    status TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    csr BYTEA NOT NULL
);
CREATE INDEX ca_request_created ON ca_request (created_at, id);
-- A key waits for one certificate at a time.
CREATE UNIQUE INDEX ca_request_pending ON ca_request (key_id) WHERE status = 'PENDING';
