-- SHA-256 of a certificate whose issuer is not known, hex: it tells apart those with one serial number.
ALTER TABLE device_follow_up ADD COLUMN fingerprint TEXT;
