-- What whoever caused it says of it, beside the texts that clients read.
ALTER TABLE device_event ADD COLUMN comment TEXT;
DROP VIEW device_history;
CREATE VIEW device_history AS
SELECT device_id, slot, occurred_at, event_type, description, version, actor_type, actor_id, source,
    CASE WHEN slot = '' THEN 'device' ELSE 'slot' END AS scope,
    CASE WHEN slot <> '' THEN slot END AS slot_name,
    comment
FROM device_event;
