CREATE TABLE enrollment_repeat (
    dms_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    csr_digest TEXT NOT NULL,
    credential_digest TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    ca_id TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    PRIMARY KEY (dms_id, device_id, csr_digest, credential_digest)
);

CREATE INDEX enrollment_repeat_by_time ON enrollment_repeat (issued_at);
