-- Which devices have three letters in a row in their folded id or alias, up to the row with the number
-- device_text_end.n: a job adds the others, many at a time. No text is stored here, and a row's number is
-- that of the device's row: backups keep it, but a dump as SQL does only with --preserve-rowids.
CREATE VIRTUAL TABLE device_text USING fts5(
    id, alias, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
INSERT INTO device_text (rowid, id, alias) SELECT rowid, id_folded, alias_folded FROM device;
CREATE TABLE device_text_end (n BIGINT NOT NULL);
INSERT INTO device_text_end (n) SELECT COALESCE(MAX(rowid), 0) FROM device;

CREATE TRIGGER device_renamed AFTER UPDATE OF alias_folded ON device
WHEN OLD.alias_folded <> NEW.alias_folded AND OLD.rowid <= (SELECT n FROM device_text_end)
BEGIN
    INSERT INTO device_text (device_text, rowid, id, alias)
    VALUES ('delete', OLD.rowid, OLD.id_folded, OLD.alias_folded);
    INSERT INTO device_text (rowid, id, alias)
    VALUES (NEW.rowid, NEW.id_folded, NEW.alias_folded);
END;
-- The number of the last row is given again when that row is gone.
CREATE TRIGGER device_forgotten AFTER DELETE ON device
BEGIN
    INSERT INTO device_text (device_text, rowid, id, alias)
    SELECT 'delete', OLD.rowid, OLD.id_folded, OLD.alias_folded
    WHERE OLD.rowid <= (SELECT n FROM device_text_end);
    UPDATE device_text_end SET n = (SELECT COALESCE(MAX(rowid), 0) FROM device)
    WHERE n > (SELECT COALESCE(MAX(rowid), 0) FROM device);
END;

DROP VIEW device_listed;
-- Devices with their slots as documents, for filters and sorts by JSONPath. The documents are made
-- only where a query asks for them.
CREATE VIEW device_listed AS
SELECT device.*, device.rowid AS rowid,
    CASE WHEN slot_status IS NOT NULL THEN json_object(
        'status', slot_status,
        'active_version', active_version,
        'type', slot_type,
        'versions', (
            SELECT json_group_object(CAST(v.version AS TEXT), json(v.secret))
            FROM slot_version v WHERE v.device_id = device.id AND v.slot = 'identity'),
        'expiration_date', strftime('%Y-%m-%dT%H:%M:%SZ', not_after / 1000000, 'unixepoch'),
        'events', (
            SELECT json_group_object(
                strftime('%Y-%m-%dT%H:%M:%S', e.occurred_at / 1000000, 'unixepoch')
                    || printf('.%06dZ', e.occurred_at % 1000000),
                json_object('type', e.event_type, 'description', e.description))
            FROM device_event e WHERE e.device_id = device.id AND e.slot = 'identity')
    ) END AS identity_slot,
    (
        SELECT json_group_object(s.name, json_object(
            'name', s.name,
            'status', COALESCE(s.status, 'EMPTY'),
            'secret_type', s.secret_type,
            'active_version', s.active_version,
            'secrets', (
                SELECT json_group_object(CAST(v.version AS TEXT), json(v.secret))
                FROM slot_version v WHERE v.device_id = s.device_id AND v.slot = s.name),
            'expiration_date', strftime('%Y-%m-%dT%H:%M:%SZ', s.not_after / 1000000, 'unixepoch'),
            'policy', json(s.policy),
            'revision', s.revision))
        FROM device_slot s WHERE s.device_id = device.id) AS slots
FROM device;
