-- Finds ids and aliases by what they contain. Where the extension is not installed, or this role may not
-- create it, they are looked through instead.
DO $block$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'pg_trgm: %', SQLERRM;
END
$block$;
DO $block$
DECLARE
    home name;
BEGIN
    SELECT n.nspname INTO home FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
    IF home IS NOT NULL THEN
        EXECUTE format('CREATE INDEX device_id_text ON device USING gin '
            '(id_folded %I.gin_trgm_ops)', home);
        EXECUTE format('CREATE INDEX device_alias_text ON device USING gin '
            '(alias_folded %I.gin_trgm_ops)', home);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'pg_trgm: %', SQLERRM;
END
$block$;
