-- How many keys of an algorithm an engine has: the sum of its rows here, kept by triggers, since
-- counting them all takes long. A change only adds rows, so that nobody waits for a row that somebody
-- else changes; the reaper makes one row of many.
CREATE TABLE kms_key_count (
    engine_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    n BIGINT NOT NULL
);
INSERT INTO kms_key_count (engine_id, algorithm, n)
SELECT engine_id, algorithm, COUNT(*) FROM kms_key WHERE state = 'ready'
GROUP BY engine_id, algorithm;

CREATE FUNCTION kms_key_count_change() RETURNS trigger
    LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.state = 'ready' THEN
        INSERT INTO kms_key_count (engine_id, algorithm, n)
        VALUES (OLD.engine_id, OLD.algorithm, -1);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.state = 'ready' THEN
        INSERT INTO kms_key_count (engine_id, algorithm, n)
        VALUES (NEW.engine_id, NEW.algorithm, 1);
    END IF;
    RETURN NULL;
END
$function$;
CREATE TRIGGER kms_key_counted AFTER INSERT OR DELETE ON kms_key
    FOR EACH ROW EXECUTE FUNCTION kms_key_count_change();
CREATE TRIGGER kms_key_recounted AFTER UPDATE OF state, engine_id, algorithm ON kms_key
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state OR OLD.engine_id <> NEW.engine_id
        OR OLD.algorithm <> NEW.algorithm)
    EXECUTE FUNCTION kms_key_count_change();
