-- The credential, as a keyed digest, of a request that was bound to the connection it first came over.
ALTER TABLE approval ADD COLUMN bound_by TEXT NOT NULL DEFAULT '';
