-- Which CA's hold put a certificate on hold; NULL when somebody held it itself, or it is on none.
ALTER TABLE certificate ADD COLUMN held_by TEXT;
CREATE INDEX certificate_held_by ON certificate (held_by, id) WHERE held_by IS NOT NULL;
CREATE INDEX certificate_on_hold ON certificate (issuer_ca_id, id)
    WHERE status = 'REVOKED' AND revocation_reason = 'CertificateHold';

-- What is looked for among CAs only: those below one, and the issuer of a certificate.
CREATE INDEX certificate_ca_issuer ON certificate (issuer_ca_id, id) WHERE is_ca;
CREATE INDEX certificate_ca_common_name ON certificate (subject_common_name, id) WHERE is_ca;

-- Certificates whose issuer is not here, by what they call its key.
CREATE INDEX certificate_orphan ON certificate (authority_key_id, id) WHERE issuer_ca_id = '-';

-- Changes that go from a CA to what is below it. The row is stored together with the cause;
-- position: the last certificate that was looked at, where the kind goes through them in order.
CREATE TABLE ca_cascade (
    id TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    ca_id TEXT NOT NULL,
    certificate_id TEXT NOT NULL,
    subject_key_id TEXT NOT NULL,
    position TEXT NOT NULL,
    status TEXT NOT NULL,
    -- 0 while nobody counted.
    total BIGINT NOT NULL,
    done BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    error TEXT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX ca_cascade_open ON ca_cascade (created_at, id) WHERE finished_at IS NULL;
CREATE INDEX ca_cascade_ca ON ca_cascade (ca_id);
CREATE INDEX ca_cascade_finished ON ca_cascade (finished_at) WHERE finished_at IS NOT NULL;

-- All long work as clients see it.
CREATE VIEW ca_job_entry AS
SELECT id, created_at, kind, status, total, done, failed, error
FROM ca_job
UNION ALL
SELECT id, created_at, kind, status, CASE WHEN total > done THEN total ELSE done END, done, failed,
    error
FROM ca_cascade
WHERE kind <> 'ADOPT';
