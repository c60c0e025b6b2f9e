ALTER TABLE runs ADD COLUMN environment TEXT;
ALTER TABLE runs ADD COLUMN waiting_for TEXT;
