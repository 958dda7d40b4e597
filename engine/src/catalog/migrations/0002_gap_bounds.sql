-- How many records a loss may have cost at most, where the number cannot be known: after a power cut, or when a journal was
-- cut off. NULL where `records` is exact.
ALTER TABLE stepwell_gap ADD COLUMN records_max INTEGER;
