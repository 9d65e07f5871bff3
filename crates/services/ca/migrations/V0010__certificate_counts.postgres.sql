-- How many certificates of a status a CA has issued: the sum of its rows here, kept by triggers,
-- since counting a million takes long. A change only adds rows, so that nobody waits for a row that
-- somebody else changes; a job makes one row of many.
CREATE TABLE certificate_count (
    issuer_ca_id TEXT NOT NULL,
    status TEXT NOT NULL,
    n BIGINT NOT NULL
);
INSERT INTO certificate_count (issuer_ca_id, status, n)
SELECT issuer_ca_id, status, COUNT(*) FROM certificate GROUP BY issuer_ca_id, status;

CREATE FUNCTION certificate_count_change() RETURNS trigger
    LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO certificate_count (issuer_ca_id, status, n)
        VALUES (OLD.issuer_ca_id, OLD.status, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO certificate_count (issuer_ca_id, status, n)
        VALUES (NEW.issuer_ca_id, NEW.status, 1);
    END IF;
    RETURN NULL;
END
$function$;
CREATE TRIGGER certificate_counted AFTER INSERT OR DELETE ON certificate
    FOR EACH ROW EXECUTE FUNCTION certificate_count_change();
CREATE TRIGGER certificate_recounted AFTER UPDATE OF status, issuer_ca_id ON certificate
    FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.issuer_ca_id <> NEW.issuer_ca_id)
    EXECUTE FUNCTION certificate_count_change();
