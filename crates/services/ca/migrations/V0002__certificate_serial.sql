-- Together they name one certificate. By serial number alone a planner without statistics may as well
-- choose the index of the issuer, and look at every certificate of a CA.
DROP INDEX certificate_serial;
CREATE INDEX certificate_serial ON certificate (serial_number, issuer_ca_id);
