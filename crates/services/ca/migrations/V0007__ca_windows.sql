-- When the next window in the metadata of a CA begins; NULL when it has none left. Kept by every
-- change of the metadata; what was stored before is looked at once, by the expiry job.
ALTER TABLE certificate_authority ADD COLUMN next_window BIGINT DEFAULT 0;
CREATE INDEX certificate_authority_window ON certificate_authority (next_window)
    WHERE next_window IS NOT NULL;
-- The same for certificates whose metadata have windows: so far the column was NULL for those.
UPDATE certificate SET next_window = 0
WHERE status = 'ACTIVE' AND next_window IS NULL
    AND CAST(metadata AS TEXT) LIKE '%lamassu.io/ca/expiration-deltas%';
