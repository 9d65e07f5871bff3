-- Devices with their identity slot as one document, for filters and sorts by JSONPath. The
-- document is made only where a query asks for it.
CREATE VIEW device_listed AS
SELECT device.*,
    CASE WHEN slot_status IS NOT NULL THEN json_object(
        'status', slot_status,
        'active_version', active_version,
        'type', slot_type,
        'versions', (
            SELECT json_group_object(CAST(v.version AS TEXT), v.serial_number)
            FROM identity_version v WHERE v.device_id = device.id),
        'expiration_date', strftime('%Y-%m-%dT%H:%M:%SZ', not_after / 1000000, 'unixepoch'),
        'events', (
            SELECT json_group_object(
                strftime('%Y-%m-%dT%H:%M:%S', e.occurred_at / 1000000, 'unixepoch')
                    || printf('.%06dZ', e.occurred_at % 1000000),
                json_object('type', e.event_type, 'description', e.description))
            FROM device_event e WHERE e.device_id = device.id AND e.slot = 'identity')
    ) END AS identity_slot
FROM device;
