-- What is asked for is noted before there is a certificate. Rows of before last a day at most.
DROP TABLE enrollment_repeat;

CREATE TABLE enrollment_repeat (
    dms_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    csr_digest TEXT NOT NULL,
    credential_digest TEXT NOT NULL,
    version_before BIGINT NOT NULL,
    ca_id TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (dms_id, device_id, csr_digest, credential_digest)
);

CREATE INDEX enrollment_repeat_by_time ON enrollment_repeat (asked_at);
