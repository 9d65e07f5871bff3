CREATE TABLE dms (
    id TEXT PRIMARY KEY,
    id_folded TEXT NOT NULL,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    metadata JSONB NOT NULL,
    settings JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE INDEX dms_by_creation ON dms (created_at, id);
CREATE INDEX dms_by_id_folded ON dms (id_folded, id);
CREATE INDEX dms_by_name ON dms (name_folded, name, id);
CREATE INDEX dms_by_exact_name ON dms (name, id);
