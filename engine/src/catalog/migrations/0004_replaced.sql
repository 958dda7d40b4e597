-- Segments that others took the place of, and whose files may still be there.
CREATE TABLE stepwell_replaced (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    time INTEGER NOT NULL,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (run_id, writer, n)
) WITHOUT ROWID;
