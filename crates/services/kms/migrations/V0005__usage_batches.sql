-- Which counts were stored whose storing nobody confirmed: a batch that is here is not added again. Each process
-- keeps the last of its own; what a process that is gone has left goes after a day.
CREATE TABLE kms_key_usage_batch (
    id        TEXT NOT NULL PRIMARY KEY,
    stored_at BIGINT NOT NULL
);
