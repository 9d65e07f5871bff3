-- Events of revocations name the CA, not the role.
CREATE INDEX va_role_by_ca ON va_role (ca_id);
