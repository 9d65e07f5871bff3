-- How many shards have a CRL, and when the first of these expires, is read from this index alone.
CREATE INDEX va_shard_by_expiry ON va_shard (next_update) WHERE crl_number > 0;
