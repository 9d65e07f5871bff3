-- The handle under which a key was made, of keys that were moved: the operation that made it knows it by that.
ALTER TABLE kms_key ADD COLUMN made_as TEXT;
CREATE INDEX kms_key_by_made_as ON kms_key (made_as) WHERE made_as IS NOT NULL;
