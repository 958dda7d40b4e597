-- Where a writer has its journals, when that is not in the store: a folder of its machine. NULL when they are in the store.
ALTER TABLE stepwell_writer ADD COLUMN journal_folder TEXT;
