-- Few certificates share a microsecond: behind it, their key only made the indexes three times as
-- large.
DROP INDEX certificate_created;
CREATE INDEX certificate_created ON certificate (created_at);
DROP INDEX certificate_status;
CREATE INDEX certificate_status ON certificate (status, created_at);
DROP INDEX certificate_issuer;
CREATE INDEX certificate_issuer ON certificate (issuer_ca_id, created_at);
DROP INDEX certificate_issuer_status;
CREATE INDEX certificate_issuer_status ON certificate (issuer_ca_id, status, created_at);

CREATE INDEX certificate_of_type ON certificate (certificate_type, created_at);
CREATE INDEX certificate_profile ON certificate (profile_id, created_at);
CREATE INDEX certificate_reason ON certificate (revocation_reason, created_at)
    WHERE revocation_reason <> 'Unspecified';
CREATE INDEX certificate_ca ON certificate (created_at) WHERE is_ca;

-- The newest first, of all, of a status, of a CA.
CREATE INDEX certificate_status_valid_from ON certificate (status, valid_from);
CREATE INDEX certificate_issuer_valid_from ON certificate (issuer_ca_id, valid_from);

-- Very many may share an end, and all that are not revoked the time of their revocation: both
-- directions, since ties go upwards in both.
CREATE INDEX certificate_valid_to_down ON certificate (valid_to DESC, id);
CREATE INDEX certificate_revocation ON certificate (revocation_timestamp, id);
CREATE INDEX certificate_revocation_down ON certificate (revocation_timestamp DESC, id);
