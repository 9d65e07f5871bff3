-- How many enrollments of a DMS wait for a decision, and how many of one of its devices.
CREATE INDEX approval_pending ON approval (dms_id, device_id) WHERE status = 'PENDING';
