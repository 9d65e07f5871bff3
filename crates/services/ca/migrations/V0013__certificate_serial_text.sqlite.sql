-- Which certificates have three digits in a row in their serial number, up to the row with the number
-- certificate_serial_text_end.n; kept like certificate_text.
CREATE VIRTUAL TABLE certificate_serial_text USING fts5(
    serial_number, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
INSERT INTO certificate_serial_text (rowid, serial_number)
SELECT rowid, serial_number FROM certificate;
CREATE TABLE certificate_serial_text_end (n BIGINT NOT NULL);
INSERT INTO certificate_serial_text_end (n) SELECT COALESCE(MAX(rowid), 0) FROM certificate;

CREATE TRIGGER certificate_serial_forgotten AFTER DELETE ON certificate
BEGIN
    INSERT INTO certificate_serial_text (certificate_serial_text, rowid, serial_number)
    SELECT 'delete', OLD.rowid, OLD.serial_number
    WHERE OLD.rowid <= (SELECT n FROM certificate_serial_text_end);
    UPDATE certificate_serial_text_end SET n = (SELECT COALESCE(MAX(rowid), 0) FROM certificate)
    WHERE n > (SELECT COALESCE(MAX(rowid), 0) FROM certificate);
END;
