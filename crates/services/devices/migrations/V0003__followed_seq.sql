-- Place in the log of the last event of this certificate that the slot followed: one that is replayed
-- later tells what was true before.
ALTER TABLE identity_version ADD COLUMN followed_seq BIGINT NOT NULL DEFAULT 0;
