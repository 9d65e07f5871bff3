-- Finds serial numbers by what they contain, where the extension that finds names so is there.
DO $block$
DECLARE
    home name;
BEGIN
    SELECT n.nspname INTO home FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
    IF home IS NOT NULL THEN
        EXECUTE format('CREATE INDEX certificate_serial_text ON certificate USING gin '
            '(serial_number %I.gin_trgm_ops)', home);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'pg_trgm: %', SQLERRM;
END
$block$;
