-- The CA that issued a version's certificate, which its serial number alone does not say. Null where it is
-- not known: of versions from before, and of those that v1 clients write.
ALTER TABLE slot_version ADD COLUMN ca_id TEXT;
ALTER TABLE device_follow_up ADD COLUMN ca_id TEXT;
