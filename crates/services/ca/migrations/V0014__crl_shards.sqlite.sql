-- Into how many shards, with CRLs of their own, the certificates of a CA are divided; null for one CRL.
ALTER TABLE certificate_authority ADD COLUMN crl_shards BIGINT;

-- From the CAs on, as before (CROSS JOIN keeps that order).
DROP VIEW certificate_authority_entry;
CREATE VIEW certificate_authority_entry AS
SELECT
    a.id AS ca_id,
    a.revision AS ca_revision,
    a.created_at AS ca_created_at,
    a.level AS ca_level,
    a.profile_id AS ca_profile_id,
    a.metadata AS ca_metadata,
    a.crl_shards AS ca_crl_shards,
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
    c.revocation_reason AS revocation_reason,
    c.fingerprint AS fingerprint
FROM certificate_authority a
CROSS JOIN certificate c ON c.id = a.certificate_id;
