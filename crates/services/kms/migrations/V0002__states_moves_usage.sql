-- Whether a key signs: ACTIVE or DISABLED.
ALTER TABLE kms_key ADD COLUMN status TEXT NOT NULL DEFAULT 'ACTIVE';

-- Material that an engine may hold and that no key needs (yet), by the handle it has there, which no
-- row of kms_key has.
-- state: moving (a move is putting it there), leaving (it is to be forgotten).
CREATE TABLE kms_key_leftover (
    handle           TEXT NOT NULL PRIMARY KEY,
    engine_id        TEXT NOT NULL,
    state            TEXT NOT NULL,
    state_changed_at BIGINT NOT NULL
);
CREATE INDEX kms_key_leftover_by_engine ON kms_key_leftover (engine_id, state_changed_at, handle);

-- What was done with a key: a row per day, so that years of signatures are not one row that every
-- process changes. operation: sign, verify. bucket: the day's first instant.
CREATE TABLE kms_key_usage (
    key_id       TEXT NOT NULL,
    operation    TEXT NOT NULL,
    bucket       BIGINT NOT NULL,
    n_uses       BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, operation, bucket)
);
