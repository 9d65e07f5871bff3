-- Which certificates have three letters in a row in their folded common name, up to the row with the number
-- certificate_text_end.n: a job adds the others, many at a time, since one by one they cost more
-- than the certificate itself. No text is stored here, and a row's number is that of the
-- certificate's row: backups keep it, but a dump as SQL does only with --preserve-rowids.
CREATE VIRTUAL TABLE certificate_text USING fts5(
    common_name, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
INSERT INTO certificate_text (rowid, common_name)
SELECT rowid, subject_common_name_folded FROM certificate;
CREATE TABLE certificate_text_end (n BIGINT NOT NULL);
INSERT INTO certificate_text_end (n) SELECT COALESCE(MAX(rowid), 0) FROM certificate;

-- The number of the last row is given again when that row is gone.
CREATE TRIGGER certificate_forgotten AFTER DELETE ON certificate
BEGIN
    INSERT INTO certificate_text (certificate_text, rowid, common_name)
    SELECT 'delete', OLD.rowid, OLD.subject_common_name_folded
    WHERE OLD.rowid <= (SELECT n FROM certificate_text_end);
    UPDATE certificate_text_end SET n = (SELECT COALESCE(MAX(rowid), 0) FROM certificate)
    WHERE n > (SELECT COALESCE(MAX(rowid), 0) FROM certificate);
END;
