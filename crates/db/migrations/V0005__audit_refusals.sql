-- Refusals are kept up to a number; they are found by age without looking at what was done.
CREATE INDEX audit_log_refused ON audit_log (id) WHERE result = 'refused';
