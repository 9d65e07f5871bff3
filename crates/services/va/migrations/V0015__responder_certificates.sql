-- What CAs certified of the keys of their responders: where one of these is revoked, its key is not used again.
CREATE TABLE va_responder_certificate (
    ca_id         TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    -- What made the key.
    operation     TEXT NOT NULL,
    not_after     BIGINT NOT NULL,
    PRIMARY KEY (ca_id, serial_number)
);
