CREATE TABLE enrollment_password (
    id TEXT PRIMARY KEY,
    dms_id TEXT NOT NULL,
    username TEXT NOT NULL,
    username_folded TEXT NOT NULL,
    device_id TEXT NOT NULL,
    device_id_folded TEXT NOT NULL,
    digest TEXT NOT NULL,
    max_uses BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE INDEX enrollment_password_by_user ON enrollment_password (dms_id, username);
CREATE INDEX enrollment_password_by_creation ON enrollment_password (dms_id, created_at, id);
