-- The last batch that each writer committed, in the batch's own transaction: where the answer to a
-- COMMIT is lost, this says whether it happened. A transaction id does not: after a crash the server
-- gives ids of transactions that left no trace to others.
CREATE TABLE writer_mark (
    process   TEXT PRIMARY KEY,
    batch     BIGINT NOT NULL,
    marked_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
