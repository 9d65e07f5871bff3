CREATE TABLE refused_enrollment (
    id TEXT PRIMARY KEY,
    dms_id TEXT NOT NULL,
    dms_id_folded TEXT NOT NULL,
    device_id TEXT NOT NULL,
    device_id_folded TEXT NOT NULL,
    operation TEXT NOT NULL,
    reason TEXT NOT NULL,
    code TEXT NOT NULL,
    status BIGINT NOT NULL,
    certificate TEXT NOT NULL,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX refused_enrollment_by_creation ON refused_enrollment (created_at, id);
CREATE INDEX refused_enrollment_by_dms ON refused_enrollment (dms_id, created_at, id);
CREATE INDEX refused_enrollment_by_device ON refused_enrollment (device_id, created_at, id);
