-- Which certificates have three letters in a row in their folded common name. No text is stored here, and
-- a row's number is that of the certificate's row: both copies and backups keep it, but a dump as
-- SQL does only with --preserve-rowids.
CREATE VIRTUAL TABLE certificate_text USING fts5(
    common_name, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
INSERT INTO certificate_text (rowid, common_name)
SELECT rowid, subject_common_name_folded FROM certificate;

CREATE TRIGGER certificate_read AFTER INSERT ON certificate
BEGIN
    INSERT INTO certificate_text (rowid, common_name)
    VALUES (NEW.rowid, NEW.subject_common_name_folded);
END;
CREATE TRIGGER certificate_forgotten AFTER DELETE ON certificate
BEGIN
    INSERT INTO certificate_text (certificate_text, rowid, common_name)
    VALUES ('delete', OLD.rowid, OLD.subject_common_name_folded);
END;
