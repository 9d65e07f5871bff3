-- Whose further credential came beside the one that decided.
ALTER TABLE audit_log ADD COLUMN also TEXT;
