-- A password that is presented is found by its digest, however many its user name has.
DROP INDEX enrollment_password_by_user;
CREATE INDEX enrollment_password_by_user ON enrollment_password (dms_id, username, digest);
