-- The tags of a key, folded, one behind the other with U+001F between them.
ALTER TABLE kms_key ADD COLUMN tags_folded TEXT NOT NULL DEFAULT '';
UPDATE kms_key
SET tags_folded = lamassu_fold((SELECT group_concat(value, char(31)) FROM json_each(tags)))
WHERE json_array_length(tags) > 0;

-- Which keys have three letters in a row in their folded name, their id or their folded tags. Keys are
-- few and slow to make, so that triggers keep it up: no row is behind the end. No text is stored here,
-- and a row's number is that of the key's row: backups keep it, but a dump as SQL does only with
-- --preserve-rowids.
CREATE VIRTUAL TABLE kms_key_text USING fts5(
    name, key_id, tags, content='', columnsize=0, detail=none,
    tokenize='trigram case_sensitive 1'
);
INSERT INTO kms_key_text (rowid, name, key_id, tags)
SELECT rowid, name_folded, COALESCE(key_id, ''), tags_folded FROM kms_key;
CREATE TABLE kms_key_text_end (n BIGINT NOT NULL);
INSERT INTO kms_key_text_end (n) VALUES (9223372036854775807);

CREATE TRIGGER kms_key_text_added AFTER INSERT ON kms_key
BEGIN
    INSERT INTO kms_key_text (rowid, name, key_id, tags)
    VALUES (NEW.rowid, NEW.name_folded, COALESCE(NEW.key_id, ''), NEW.tags_folded);
END;
CREATE TRIGGER kms_key_text_changed AFTER UPDATE OF name_folded, key_id, tags_folded ON kms_key
WHEN OLD.name_folded <> NEW.name_folded OR OLD.tags_folded <> NEW.tags_folded
    OR OLD.key_id IS NOT NEW.key_id
BEGIN
    INSERT INTO kms_key_text (kms_key_text, rowid, name, key_id, tags)
    VALUES ('delete', OLD.rowid, OLD.name_folded, COALESCE(OLD.key_id, ''), OLD.tags_folded);
    INSERT INTO kms_key_text (rowid, name, key_id, tags)
    VALUES (NEW.rowid, NEW.name_folded, COALESCE(NEW.key_id, ''), NEW.tags_folded);
END;
CREATE TRIGGER kms_key_text_removed AFTER DELETE ON kms_key
BEGIN
    INSERT INTO kms_key_text (kms_key_text, rowid, name, key_id, tags)
    VALUES ('delete', OLD.rowid, OLD.name_folded, COALESCE(OLD.key_id, ''), OLD.tags_folded);
END;
