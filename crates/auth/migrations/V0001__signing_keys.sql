CREATE TABLE auth_signing_key (
    generation  BIGINT NOT NULL PRIMARY KEY,
    -- Private key, PKCS#8 DER, not encrypted: the database file is for its owner only.
    private_key BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    -- Signs from here on; published before, so that whoever holds the key set knows it by then.
    active_from BIGINT NOT NULL
);
