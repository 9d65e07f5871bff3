-- Whether the newest CRL was made elsewhere: nobody here can sign the next one.
ALTER TABLE va_role ADD COLUMN crl_imported BOOLEAN NOT NULL DEFAULT FALSE;
