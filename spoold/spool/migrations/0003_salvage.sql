-- One row a damaged spool: how much of it has been brought over into this one.

CREATE TABLE salvage (
    source TEXT PRIMARY KEY,       -- its folder: below this spool's, or an absolute path
    reason TEXT NOT NULL,          -- what is wrong with it
    found_at_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done')),
    position INTEGER NOT NULL,     -- pieces done
    pieces INTEGER NOT NULL,       -- 0 until they are counted
    recovered INTEGER NOT NULL,    -- events that are in this journal now
    known INTEGER NOT NULL,        -- whose id was here already
    settled INTEGER NOT NULL,      -- that no lane had pending: they stay where they are
    dead INTEGER NOT NULL,         -- dead letters brought over
    damaged INTEGER NOT NULL,      -- rows that can't be read, or whose checksum is wrong
    lost INTEGER NOT NULL,         -- events that were not found
    holes TEXT NOT NULL,           -- seqs of which nothing is left, with commas between
    finished_at_ms INTEGER
) WITHOUT ROWID;
