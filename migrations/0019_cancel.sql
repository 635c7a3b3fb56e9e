-- The event that the client does not want answered any more. Whoever drives the lane
-- sees it before the next try, and while one is being made.
ALTER TABLE sessions ADD COLUMN cancelled_event UUID;
