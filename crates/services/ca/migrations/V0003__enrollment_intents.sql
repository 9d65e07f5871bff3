-- What is open, by age; what is completed, by age. By state alone an index is no narrower than the
-- table, and a planner without statistics takes it even where the serial number is given.
DROP INDEX enrollment_intent_state;
CREATE INDEX enrollment_intent_open ON enrollment_intent (opened_at, serial_number)
    WHERE state = 'open';
CREATE INDEX enrollment_intent_completed ON enrollment_intent (opened_at)
    WHERE state = 'completed';
