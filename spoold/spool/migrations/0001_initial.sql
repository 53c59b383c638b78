-- The journal itself (queue_journal) is persist-queue's own table and exists before this runs.

-- One row: what is true of the whole spool. Changed only in the commit that makes it true.
CREATE TABLE spool (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    accepted INTEGER NOT NULL,    -- events ever accepted
    duplicates INTEGER NOT NULL,  -- appends answered with an id that was there already
    trimmed INTEGER NOT NULL,     -- events forgotten
    last_seq INTEGER NOT NULL,    -- highest seq ever given
    last_id_ms INTEGER NOT NULL,  -- hybrid clock: the time in the newest id
    id_tag BLOB NOT NULL,         -- 2 bytes at the end of every id made here
    damaged INTEGER NOT NULL,     -- records that failed their checksum
    dead_bytes INTEGER NOT NULL   -- record bytes in set_aside
);

-- Ids that callers chose. The daemon's own are found by their time, so they need no index.
CREATE TABLE caller_id (
    key BLOB NOT NULL,            -- first 8 bytes of the id
    seq INTEGER NOT NULL,
    PRIMARY KEY (key, seq)
) WITHOUT ROWID;

-- One row a lane: a cursor, not a copy of the events.
CREATE TABLE lane (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    is_closed INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    opened_seq INTEGER NOT NULL,     -- the cursor at the first opening: what lies before was never this lane's
    cursor INTEGER NOT NULL,         -- settled up to here
    opened_at INTEGER NOT NULL,      -- spool.accepted when it last opened or closed
    closed_seq INTEGER NOT NULL,     -- the journal's end when it last closed
    accrued INTEGER NOT NULL,        -- accepted in earlier open periods
    delivered INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    filtered INTEGER NOT NULL,
    purged INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    is_stopped INTEGER NOT NULL,
    wait_ms INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    last_error_at_ms INTEGER NOT NULL,
    last_settlement BLOB NOT NULL,   -- its id: a repeat is recognised
    base_delivered INTEGER NOT NULL, -- what trimmed ledger rows said
    base_dead INTEGER NOT NULL,
    base_filtered INTEGER NOT NULL
) WITHOUT ROWID;

-- What was accepted while a lane was closed: its way jumps from after to upto.
CREATE TABLE lane_gap (
    lane TEXT NOT NULL,
    after INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    events INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,      -- spool.accepted when the lane reopened
    PRIMARY KEY (lane, after)
) WITHOUT ROWID;

-- Events that left a lane in another way than its cursor's, with their records: trimming can't touch them.
CREATE TABLE set_aside (
    id INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('deferred', 'dead')),
    record BLOB NOT NULL,
    reason TEXT NOT NULL,
    status INTEGER,
    attempts INTEGER NOT NULL,
    set_aside_at_ms INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL,
    UNIQUE (lane, seq)
);

-- An event found damaged counts once, whatever the number of lanes that meet it.
CREATE INDEX set_aside_damaged ON set_aside (seq) WHERE reason = 'damaged';

-- One row a settlement: the audit trail.
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    after INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    status INTEGER,
    outcome TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    filtered INTEGER NOT NULL
);

CREATE INDEX ledger_upto ON ledger (upto);
