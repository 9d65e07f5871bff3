-- How many certificates of a status a CA has issued, kept by triggers: counting a million takes
-- long. One connection writes, so that a row per CA and status makes nobody wait.
CREATE TABLE certificate_count (
    issuer_ca_id TEXT NOT NULL,
    status TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (issuer_ca_id, status)
) WITHOUT ROWID;
INSERT INTO certificate_count (issuer_ca_id, status, n)
SELECT issuer_ca_id, status, COUNT(*) FROM certificate GROUP BY issuer_ca_id, status;

CREATE TRIGGER certificate_counted AFTER INSERT ON certificate
BEGIN
    INSERT INTO certificate_count (issuer_ca_id, status, n) VALUES (NEW.issuer_ca_id, NEW.status, 1)
    ON CONFLICT (issuer_ca_id, status) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER certificate_recounted AFTER UPDATE OF status, issuer_ca_id ON certificate
WHEN OLD.status <> NEW.status OR OLD.issuer_ca_id <> NEW.issuer_ca_id
BEGIN
    UPDATE certificate_count SET n = n - 1
    WHERE issuer_ca_id = OLD.issuer_ca_id AND status = OLD.status;
    INSERT INTO certificate_count (issuer_ca_id, status, n) VALUES (NEW.issuer_ca_id, NEW.status, 1)
    ON CONFLICT (issuer_ca_id, status) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER certificate_uncounted AFTER DELETE ON certificate
BEGIN
    UPDATE certificate_count SET n = n - 1
    WHERE issuer_ca_id = OLD.issuer_ca_id AND status = OLD.status;
END;
