DROP VIEW device_listed;
DROP TABLE identity_version;
-- Devices with their slots as documents, for filters and sorts by JSONPath. The documents are made
-- only where a query asks for them.
CREATE VIEW device_listed AS
SELECT device.*,
    CASE WHEN slot_status IS NOT NULL THEN jsonb_build_object(
        'status', slot_status,
        'active_version', active_version,
        'type', slot_type,
        'versions', (
            SELECT jsonb_object_agg(CAST(v.version AS TEXT), CAST(v.secret AS jsonb))
            FROM slot_version v WHERE v.device_id = device.id AND v.slot = 'identity'),
        'expiration_date', to_char(
            to_timestamp(not_after / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'events', (
            SELECT jsonb_object_agg(
                to_char(
                    to_timestamp(e.occurred_at / 1000000) AT TIME ZONE 'UTC',
                    'YYYY-MM-DD"T"HH24:MI:SS')
                    || '.' || lpad(CAST(e.occurred_at % 1000000 AS TEXT), 6, '0') || 'Z',
                jsonb_build_object('type', e.event_type, 'description', e.description))
            FROM device_event e WHERE e.device_id = device.id AND e.slot = 'identity')
    ) END AS identity_slot,
    COALESCE((
        SELECT jsonb_object_agg(s.name, jsonb_build_object(
            'name', s.name,
            'status', COALESCE(s.status, 'EMPTY'),
            'secret_type', s.secret_type,
            'active_version', s.active_version,
            'secrets', COALESCE((
                SELECT jsonb_object_agg(CAST(v.version AS TEXT), CAST(v.secret AS jsonb))
                FROM slot_version v WHERE v.device_id = s.device_id AND v.slot = s.name), '{}'),
            'expiration_date', to_char(
                to_timestamp(s.not_after / 1000000) AT TIME ZONE 'UTC',
                'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'policy', s.policy,
            'revision', s.revision))
        FROM device_slot s WHERE s.device_id = device.id), '{}') AS slots
FROM device;
