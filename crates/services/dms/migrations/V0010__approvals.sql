-- Enrollments that somebody has to approve. The same request is asked for again until it is decided:
-- while it is open (pending, approved or denied) there is one row for it.
CREATE TABLE approval (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    dms_id TEXT NOT NULL,
    dms_id_folded TEXT NOT NULL,
    device_id TEXT NOT NULL,
    device_id_folded TEXT NOT NULL,
    operation TEXT NOT NULL,
    status TEXT NOT NULL,
    csr BYTEA NOT NULL,
    csr_digest BYTEA NOT NULL,
    requested_by TEXT NOT NULL,
    requested_by_folded TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    decided_at BIGINT,
    decided_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    certificate_serial TEXT NOT NULL
);
CREATE UNIQUE INDEX approval_open ON approval (dms_id, csr_digest, operation)
    WHERE status IN ('PENDING', 'APPROVED', 'DENIED');
CREATE INDEX approval_due ON approval (expires_at, id) WHERE status IN ('PENDING', 'APPROVED', 'DENIED');
CREATE INDEX approval_done ON approval (expires_at, id) WHERE status IN ('ISSUED', 'EXPIRED');
CREATE INDEX approval_by_creation ON approval (created_at, id);
CREATE INDEX approval_by_status ON approval (status, created_at, id);
CREATE INDEX approval_by_dms ON approval (dms_id, created_at, id);
CREATE INDEX approval_by_device ON approval (device_id, created_at, id);
