-- Keys, one row each, named by the handle that their engine knows them by.
-- state: pending (the engine is making it), ready, deleting (gone for everybody but the engine).
-- key_id and public_key are null while pending. Instants are microseconds since 1970.
CREATE TABLE kms_key (
    handle           TEXT NOT NULL PRIMARY KEY,
    revision         BIGINT NOT NULL,
    state            TEXT NOT NULL,
    state_changed_at BIGINT NOT NULL,
    key_id           TEXT,
    name             TEXT NOT NULL,
    name_folded      TEXT NOT NULL,
    aliases          JSONB NOT NULL,
    engine_id        TEXT NOT NULL,
    has_private_key  BOOLEAN NOT NULL,
    algorithm        TEXT NOT NULL,
    size             BIGINT NOT NULL,
    -- Base64 of the PEM text, as clients see it and filter by it.
    public_key       TEXT,
    created_at       BIGINT NOT NULL,
    tags             JSONB NOT NULL,
    metadata         JSONB NOT NULL
);
CREATE UNIQUE INDEX kms_key_by_id ON kms_key (key_id);
CREATE INDEX kms_key_by_creation ON kms_key (created_at, handle);
CREATE INDEX kms_key_by_name ON kms_key (name_folded, handle);
CREATE INDEX kms_key_by_engine ON kms_key (engine_id, created_at, handle);
CREATE INDEX kms_key_unsettled ON kms_key (engine_id, state_changed_at, handle) WHERE state <> 'ready';

-- What makes aliases unique and quick to find; kms_key.aliases holds them in their order.
CREATE TABLE kms_key_alias (
    alias  TEXT NOT NULL PRIMARY KEY,
    handle TEXT NOT NULL REFERENCES kms_key (handle)
);
CREATE INDEX kms_key_alias_by_handle ON kms_key_alias (handle);
