-- The tags of a key, folded, one behind the other with U+001F between them.
ALTER TABLE kms_key ADD COLUMN tags_folded TEXT NOT NULL DEFAULT '';
UPDATE kms_key
SET tags_folded = lamassu_fold(
    (SELECT string_agg(tag, chr(31)) FROM jsonb_array_elements_text(tags) AS all_tags(tag)))
WHERE jsonb_array_length(tags) > 0;

-- Finds keys by what their names, ids and tags contain. Where the extension is not installed, or this
-- role may not create it, they are looked through instead; the service warns at every start.
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
        EXECUTE format('CREATE INDEX kms_key_text ON kms_key USING gin '
            '(name_folded %1$I.gin_trgm_ops, key_id %1$I.gin_trgm_ops, '
            'tags_folded %1$I.gin_trgm_ops)', home);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'pg_trgm: %', SQLERRM;
END
$block$;
