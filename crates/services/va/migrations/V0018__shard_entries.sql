-- The entries of a shard are read from the index alone: rows of one bucket are anywhere in the table.
DROP INDEX va_revoked_by_bucket;
CREATE INDEX va_revoked_by_bucket
    ON va_revoked (ca_id, bucket, valid_to, serial_number, revoked_at, reason);
