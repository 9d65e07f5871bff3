-- Devices with their identity slot as one document, for filters and sorts by JSONPath. The
-- document is made only where a query asks for it.
CREATE VIEW device_listed AS
SELECT device.*,
    CASE WHEN slot_status IS NOT NULL THEN jsonb_build_object(
        'status', slot_status,
        'active_version', active_version,
        'type', slot_type,
        'versions', (
            SELECT jsonb_object_agg(CAST(v.version AS TEXT), v.serial_number)
            FROM identity_version v WHERE v.device_id = device.id),
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
    ) END AS identity_slot
FROM device;
