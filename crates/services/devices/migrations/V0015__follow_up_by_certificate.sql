-- What is still to be done with a certificate, for the task that takes its place.
CREATE INDEX device_follow_up_by_serial ON device_follow_up (serial_number);
