DROP VIEW device_listed;
DROP TABLE identity_version;
-- Devices with their slots as documents, for filters and sorts by JSONPath. The documents are made
-- only where a query asks for them.
CREATE VIEW device_listed AS
SELECT device.*,
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
