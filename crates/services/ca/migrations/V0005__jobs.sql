-- Long work: what to do (task), how far it is (position), and what is shown of it.
CREATE TABLE ca_job (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    total BIGINT NOT NULL,
    done BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    error TEXT NOT NULL,
    task JSONB NOT NULL,
    -- The last certificate that was looked at: its time and its key; NULL before the first one.
    position_created_at BIGINT,
    position_id TEXT
);
CREATE INDEX ca_job_created ON ca_job (created_at, id);
CREATE INDEX ca_job_running ON ca_job (created_at, id) WHERE status = 'RUNNING';

-- The stored profile that a certificate was issued under; '' for none, or where nobody noted it.
ALTER TABLE certificate ADD COLUMN profile_id TEXT NOT NULL DEFAULT '';
