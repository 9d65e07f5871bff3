-- The event log: every state change appends to it in its own transaction. Places become visible out
-- of order; a writer has its transaction id before it takes one, which tells readers where to stop.
CREATE TABLE event_log (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_type  TEXT NOT NULL,
    subject     TEXT,
    source      TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    body        TEXT NOT NULL
);

-- How far each reader of the log has come: the last event whose effect is committed.
CREATE TABLE subscriptions (
    name        TEXT PRIMARY KEY,
    position    BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);

-- Events that a reader could not handle; kept with the whole event, since the log is trimmed.
CREATE TABLE dead_letters (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription TEXT NOT NULL,
    seq          BIGINT NOT NULL,
    event_type   TEXT NOT NULL,
    subject      TEXT,
    body         TEXT NOT NULL,
    error        TEXT NOT NULL,
    attempts     BIGINT NOT NULL,
    failed_at    BIGINT NOT NULL,
    replay       BOOLEAN NOT NULL,
    UNIQUE (subscription, seq)
);

-- One record per change, and a bounded number of refusals.
CREATE TABLE audit_log (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at BIGINT NOT NULL,
    principal   TEXT NOT NULL,
    credential  TEXT NOT NULL,
    operation   TEXT NOT NULL,
    resource    TEXT NOT NULL,
    result      TEXT NOT NULL,
    reason      TEXT,
    request_id  TEXT NOT NULL
);
CREATE INDEX audit_log_by_time ON audit_log (occurred_at);

-- Which process runs which job.
CREATE TABLE leases (
    name        TEXT PRIMARY KEY,
    holder      TEXT NOT NULL,
    expires_at  BIGINT NOT NULL
);

-- What the installation made once for itself, for example the key that authenticates bookmarks.
CREATE TABLE settings (
    name        TEXT PRIMARY KEY,
    value       BYTEA NOT NULL
);
