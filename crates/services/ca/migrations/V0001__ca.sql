-- Instants are microseconds since 1970; certificates are DER.

CREATE TABLE issuance_profile (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    profile JSONB NOT NULL
);
CREATE INDEX issuance_profile_created ON issuance_profile (created_at, id);
CREATE INDEX issuance_profile_name ON issuance_profile (name_folded, name, id);

-- id: serial number and issuer name in one text, because serial numbers repeat across issuers.
CREATE TABLE certificate (
    id TEXT NOT NULL PRIMARY KEY,
    serial_number TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    der BYTEA NOT NULL,
    status TEXT NOT NULL,
    certificate_type TEXT NOT NULL,
    engine_id TEXT NOT NULL,
    metadata JSONB,
    is_ca BOOLEAN NOT NULL,
    subject_common_name TEXT NOT NULL,
    subject_common_name_folded TEXT NOT NULL,
    subject_key_id TEXT NOT NULL,
    authority_key_id TEXT NOT NULL,
    key_type TEXT NOT NULL,
    key_bits BIGINT NOT NULL,
    key_strength TEXT NOT NULL,
    key_usage JSONB NOT NULL,
    extended_key_usage JSONB NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT NOT NULL,
    issuer_ca_id TEXT NOT NULL,
    issuer_serial_number TEXT NOT NULL,
    issuer_level BIGINT NOT NULL,
    revocation_timestamp BIGINT NOT NULL,
    revocation_reason TEXT NOT NULL,
    -- When the expiry job must look at it; NULL when nothing will change by itself.
    next_due BIGINT,
    -- When its next default window begins; NULL when it has none left or windows of its own, and
    -- while it is not active.
    next_window BIGINT,
    -- Whether its status EXPIRED was set by that job and not by a client.
    expired_by_job BOOLEAN NOT NULL
);
CREATE INDEX certificate_serial ON certificate (serial_number);
CREATE INDEX certificate_created ON certificate (created_at, id);
CREATE INDEX certificate_status ON certificate (status, created_at, id);
CREATE INDEX certificate_issuer ON certificate (issuer_ca_id, created_at, id);
CREATE INDEX certificate_issuer_status ON certificate (issuer_ca_id, status, created_at, id);
CREATE INDEX certificate_revoked ON certificate (issuer_ca_id, serial_number) WHERE status = 'REVOKED';
CREATE INDEX certificate_valid_from ON certificate (valid_from, id);
CREATE INDEX certificate_valid_to ON certificate (valid_to, id);
CREATE INDEX certificate_common_name ON certificate (subject_common_name_folded, subject_common_name, id);
CREATE INDEX certificate_subject_key ON certificate (subject_key_id);
CREATE INDEX certificate_due ON certificate (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX certificate_window ON certificate (next_window) WHERE next_window IS NOT NULL;
CREATE INDEX certificate_expired_by_job ON certificate (valid_to) WHERE expired_by_job;

CREATE TABLE certificate_authority (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    certificate_id TEXT NOT NULL,
    level BIGINT NOT NULL,
    profile_id TEXT NOT NULL,
    metadata JSONB NOT NULL
);
CREATE INDEX certificate_authority_created ON certificate_authority (created_at, id);
CREATE INDEX certificate_authority_certificate ON certificate_authority (certificate_id);

-- CAs with their current certificates, as they are read and listed.
CREATE VIEW certificate_authority_entry AS
SELECT
    a.id AS ca_id,
    a.revision AS ca_revision,
    a.created_at AS ca_created_at,
    a.level AS ca_level,
    a.profile_id AS ca_profile_id,
    a.metadata AS ca_metadata,
    c.id AS id,
    c.serial_number AS serial_number,
    c.revision AS revision,
    c.der AS der,
    c.status AS status,
    c.certificate_type AS certificate_type,
    c.engine_id AS engine_id,
    c.metadata AS metadata,
    c.is_ca AS is_ca,
    c.subject_common_name AS subject_common_name,
    c.subject_common_name_folded AS subject_common_name_folded,
    c.subject_key_id AS subject_key_id,
    c.authority_key_id AS authority_key_id,
    c.key_type AS key_type,
    c.key_bits AS key_bits,
    c.key_strength AS key_strength,
    c.key_usage AS key_usage,
    c.extended_key_usage AS extended_key_usage,
    c.valid_from AS valid_from,
    c.valid_to AS valid_to,
    c.issuer_ca_id AS issuer_ca_id,
    c.issuer_serial_number AS issuer_serial_number,
    c.issuer_level AS issuer_level,
    c.revocation_timestamp AS revocation_timestamp,
    c.revocation_reason AS revocation_reason
FROM certificate_authority a
JOIN certificate c ON c.id = a.certificate_id;

-- Changes that span this service and the key management service: 'running' has perhaps made a key,
-- 'abandoned' must not leave one, 'stored' has yet to mark its key as used by its certificate.
CREATE TABLE ca_operation (
    id TEXT NOT NULL PRIMARY KEY,
    started_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    key_id TEXT,
    serial_number TEXT
);
CREATE INDEX ca_operation_started ON ca_operation (started_at);

-- Certificates on their way to a device, and recent re-enrollments whose answer may be lost.
CREATE TABLE enrollment_intent (
    serial_number TEXT NOT NULL PRIMARY KEY,
    certificate_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    dms_id TEXT NOT NULL,
    mode TEXT NOT NULL,
    csr_digest BYTEA NOT NULL,
    superseded_serial_number TEXT,
    detach BOOLEAN NOT NULL,
    revoke BOOLEAN NOT NULL,
    opened_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    closed_at BIGINT
);
CREATE INDEX enrollment_intent_state ON enrollment_intent (state, opened_at);
CREATE INDEX enrollment_intent_superseded ON enrollment_intent (superseded_serial_number, csr_digest)
    WHERE superseded_serial_number IS NOT NULL;
