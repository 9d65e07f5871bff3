-- Lists by name are in the order of folded name, name and handle: the index gives it without a sort.
DROP INDEX kms_key_by_name;
CREATE INDEX kms_key_by_name ON kms_key (name_folded, name, handle);
