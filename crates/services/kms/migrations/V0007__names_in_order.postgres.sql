-- PostgreSQL sorts keys of one folded name as it reads the index there is, and an index row has no room for a long
-- name twice.
SELECT 1;
