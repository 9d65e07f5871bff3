-- How many keys of an algorithm an engine has, kept by triggers, since counting them all takes long.
-- One connection writes, so that a row per engine and algorithm makes nobody wait.
CREATE TABLE kms_key_count (
    engine_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (engine_id, algorithm)
) WITHOUT ROWID;
INSERT INTO kms_key_count (engine_id, algorithm, n)
SELECT engine_id, algorithm, COUNT(*) FROM kms_key WHERE state = 'ready'
GROUP BY engine_id, algorithm;

CREATE TRIGGER kms_key_counted AFTER INSERT ON kms_key WHEN NEW.state = 'ready'
BEGIN
    INSERT INTO kms_key_count (engine_id, algorithm, n) VALUES (NEW.engine_id, NEW.algorithm, 1)
    ON CONFLICT (engine_id, algorithm) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER kms_key_recounted AFTER UPDATE OF state, engine_id, algorithm ON kms_key
WHEN OLD.state <> NEW.state OR OLD.engine_id <> NEW.engine_id OR OLD.algorithm <> NEW.algorithm
BEGIN
    UPDATE kms_key_count SET n = n - 1
    WHERE OLD.state = 'ready' AND engine_id = OLD.engine_id AND algorithm = OLD.algorithm;
    INSERT INTO kms_key_count (engine_id, algorithm, n)
    SELECT NEW.engine_id, NEW.algorithm, 1 WHERE NEW.state = 'ready'
    ON CONFLICT (engine_id, algorithm) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER kms_key_uncounted AFTER DELETE ON kms_key WHEN OLD.state = 'ready'
BEGIN
    UPDATE kms_key_count SET n = n - 1
    WHERE engine_id = OLD.engine_id AND algorithm = OLD.algorithm;
END;
