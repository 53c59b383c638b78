-- Events that stand aside and are pending, operators' words, replays.

ALTER TABLE lane ADD COLUMN is_paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN accepts_dead INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN flushes INTEGER NOT NULL DEFAULT 0;      -- how often an operator said so
ALTER TABLE lane ADD COLUMN deferred INTEGER NOT NULL DEFAULT 0;     -- of the pending ones: those in set_aside
ALTER TABLE lane ADD COLUMN base_purged INTEGER NOT NULL DEFAULT 0;  -- what trimmed ledger rows said
ALTER TABLE lane ADD COLUMN batches TEXT NOT NULL DEFAULT '';        -- last seqs of decided batches behind the cursor

ALTER TABLE ledger ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;

-- What is left of a wait at a start is min(wait_ms, not_before_ms - now): a clock that jumps delays nothing for long.
ALTER TABLE set_aside ADD COLUMN wait_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE set_aside ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

CREATE INDEX set_aside_deferred ON set_aside (seq) WHERE kind = 'deferred';
-- An operator asks for a dead letter by the event's id.
CREATE INDEX set_aside_event ON set_aside (substr(record, 3, 16)) WHERE kind = 'dead';

-- One row a replay: a selection and a cursor in it.
CREATE TABLE replay (
    id INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    is_dead INTEGER NOT NULL,      -- goes through the lane's dead letters, not the journal
    selection TEXT NOT NULL,       -- as JSON
    seqs TEXT NOT NULL,            -- where the wanted ids stand, with commas between; empty: any
    start INTEGER NOT NULL,        -- it looks at (start, upto]
    upto INTEGER NOT NULL,
    lane_cursor INTEGER NOT NULL,  -- what was pending behind it is left to the lane
    cursor INTEGER NOT NULL,       -- done up to here
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    sent INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    revived INTEGER NOT NULL,      -- dead letters made pending again
    created_at_ms INTEGER NOT NULL,
    finished_at_ms INTEGER
);
