-- Every statement of the spool, by name. A review of SQL is a review of this file.

-- name: load_spool
SELECT accepted, duplicates, trimmed, last_seq, last_id_ms, id_tag, damaged, dead_bytes FROM spool WHERE id = 1;

-- name: create_spool
INSERT INTO spool (id, accepted, duplicates, trimmed, last_seq, last_id_ms, id_tag, damaged, dead_bytes)
VALUES (1, 0, 0, 0, ?, ?, ?, 0, 0);

-- name: save_spool
UPDATE spool SET accepted = ?, duplicates = ?, trimmed = ?, last_seq = ?, last_id_ms = ?, id_tag = ?, damaged = ?,
    dead_bytes = ?
WHERE id = 1;

-- name: load_lanes
SELECT name, kind, is_closed, epoch, opened_seq, cursor, opened_at, closed_seq, accrued, delivered, dead, filtered, purged,
    failures, is_stopped, wait_ms, not_before_ms, last_error, last_error_at_ms, last_settlement, base_delivered, base_dead,
    base_filtered, is_paused, accepts_dead, flushes, deferred, base_purged, batches
FROM lane ORDER BY name;

-- name: save_lane
INSERT OR REPLACE INTO lane (name, kind, is_closed, epoch, opened_seq, cursor, opened_at, closed_seq, accrued, delivered, dead,
    filtered, purged, failures, is_stopped, wait_ms, not_before_ms, last_error, last_error_at_ms, last_settlement,
    base_delivered, base_dead, base_filtered, is_paused, accepts_dead, flushes, deferred, base_purged, batches)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: load_gaps
SELECT lane, after, upto, events, opened_at FROM lane_gap ORDER BY lane, after;

-- name: save_gap
INSERT OR REPLACE INTO lane_gap (lane, after, upto, events, opened_at) VALUES (?, ?, ?, ?, ?);

-- name: delete_gaps
-- Gaps that a lane has left behind and whose events are forgotten.
DELETE FROM lane_gap WHERE lane = ? AND upto <= ?;

-- name: caller_candidates
-- Where ids with these first 8 bytes stand; the record decides whether it is the same id.
SELECT seq FROM caller_id WHERE key = ?;

-- name: record_id
SELECT substr(data, 3, 16) FROM queue_journal WHERE _id = ?;

-- name: has_record
SELECT 1 FROM queue_journal WHERE _id = ?;

-- name: record
SELECT data FROM queue_journal WHERE _id = ?;

-- name: first_record_after
SELECT _id, data FROM queue_journal WHERE _id > ? ORDER BY _id LIMIT 1;

-- name: first_time_from
-- For the binary search by time.
SELECT _id, timestamp FROM queue_journal WHERE _id >= ? ORDER BY _id LIMIT 1;

-- name: ids_from
SELECT _id, timestamp, substr(data, 3, 16) FROM queue_journal WHERE _id >= ? ORDER BY _id LIMIT ?;

-- name: seq_bounds
SELECT (SELECT min(_id) FROM queue_journal), (SELECT max(_id) FROM queue_journal);

-- name: page_sizes
-- One row whatever the length: each row stepped costs the GIL once.
SELECT group_concat(_id), group_concat(size) FROM (
    SELECT _id, length(data) AS size FROM queue_journal WHERE _id > ? AND _id <= ? ORDER BY _id LIMIT ?
);

-- name: page_records
SELECT group_concat(hex(data)) FROM (
    SELECT data FROM queue_journal WHERE _id > ? AND _id <= ? ORDER BY _id
);

-- name: add_dead
INSERT INTO set_aside (lane, seq, kind, record, reason, status, attempts, set_aside_at_ms, not_before_ms)
SELECT ?, _id, 'dead', data, ?, ?, ?, ?, 0 FROM queue_journal WHERE _id = ?;

-- name: add_deferred
INSERT INTO set_aside (lane, seq, kind, record, reason, status, attempts, set_aside_at_ms, not_before_ms, wait_ms, failures)
SELECT ?, _id, 'deferred', data, ?, ?, ?, ?, ?, ?, ? FROM queue_journal WHERE _id = ?;

-- name: bury_deferred
UPDATE set_aside SET kind = 'dead', reason = ?, status = ?, attempts = ?, set_aside_at_ms = ?, not_before_ms = 0, wait_ms = 0
WHERE lane = ? AND seq = ? AND kind = 'deferred';

-- name: defer_again
UPDATE set_aside SET kind = 'deferred', reason = ?, status = ?, attempts = ?, not_before_ms = ?, wait_ms = ?, failures = ?
WHERE lane = ? AND seq = ?;

-- name: revive_dead
UPDATE set_aside SET kind = 'deferred', not_before_ms = ?, wait_ms = 0, failures = 0
WHERE lane = ? AND seq = ? AND kind = 'dead';

-- name: release_deferred
DELETE FROM set_aside WHERE lane = ? AND seq = ? AND kind = 'deferred';

-- name: aside
SELECT kind, length(record) FROM set_aside WHERE lane = ? AND seq = ?;

-- name: deferred
-- Not by lane: that index would walk over the dead letters, of which there may be any number.
SELECT seq, wait_ms, not_before_ms, attempts, failures, reason, status FROM set_aside INDEXED BY set_aside_deferred
WHERE lane = ? AND kind = 'deferred' ORDER BY seq;

-- name: aside_record
SELECT record FROM set_aside WHERE lane = ? AND seq = ?;

-- name: first_deferred
SELECT seq, record FROM set_aside INDEXED BY set_aside_deferred
WHERE lane = ? AND kind = 'deferred' ORDER BY seq LIMIT 1;

-- name: count_deferred
SELECT count(DISTINCT seq) FROM set_aside WHERE kind = 'deferred' AND seq > ? AND seq <= ?;

-- name: dead_page
SELECT seq, record, status, reason, attempts, set_aside_at_ms FROM set_aside
WHERE lane = ? AND kind = 'dead' AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: dead_bounds
SELECT (SELECT min(seq) FROM set_aside WHERE lane = ? AND kind = 'dead'),
    (SELECT max(seq) FROM set_aside WHERE lane = ? AND kind = 'dead');

-- name: dead_with_id
SELECT lane, seq, record, status, reason, attempts, set_aside_at_ms FROM set_aside
WHERE kind = 'dead' AND substr(record, 3, 16) = ? ORDER BY lane, seq;

-- name: records_after
-- Each with how it stands aside in a lane.
SELECT _id, data, (SELECT kind FROM set_aside WHERE lane = ? AND seq = _id) FROM queue_journal
WHERE _id > ? AND _id <= ? ORDER BY _id LIMIT ?;

-- name: record_in_lane
SELECT _id, data, (SELECT kind FROM set_aside WHERE lane = ? AND seq = _id) FROM queue_journal WHERE _id = ?;

-- name: load_replays
SELECT id, lane, is_dead, selection, seqs, start, upto, lane_cursor, cursor, state, sent, failed, revived, created_at_ms,
    finished_at_ms
FROM replay ORDER BY id;

-- name: save_replay
INSERT OR REPLACE INTO replay (id, lane, is_dead, selection, seqs, start, upto, lane_cursor, cursor, state, sent, failed, revived,
    created_at_ms, finished_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_replay
DELETE FROM replay WHERE id = ?;

-- name: is_known_damaged
SELECT 1 FROM set_aside WHERE seq = ? AND reason = 'damaged' LIMIT 1;

-- name: set_aside_reason
SELECT kind, reason FROM set_aside WHERE lane = ? AND seq = ?;

-- name: add_ledger
INSERT INTO ledger (id, lane, after, upto, at_ms, took_ms, status, outcome, delivered, dead, filtered, purged)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: trim_candidates
-- Only the oldest few are looked at: the cost must not grow with the backlog.
SELECT max(_id), count(*) FROM (SELECT _id, timestamp FROM queue_journal ORDER BY _id LIMIT ?)
WHERE _id <= ? AND timestamp < ?;

-- name: trim_caller_ids
DELETE FROM caller_id WHERE (key, seq) IN (SELECT substr(data, 3, 8), _id FROM queue_journal WHERE _id <= ?);

-- name: trim_journal
DELETE FROM queue_journal WHERE _id <= ?;

-- name: folded_ledger
SELECT lane, sum(delivered), sum(dead), sum(filtered), sum(purged) FROM ledger WHERE upto <= ? GROUP BY lane;

-- name: trim_ledger
DELETE FROM ledger WHERE upto <= ?;

-- name: last_ledger_id
SELECT coalesce(max(id), 0) FROM ledger;

-- name: has_ledger_row
SELECT 1 FROM ledger WHERE id = ?;

-- name: audit_ledger
-- A page of the ledger, summed up: a few rows, each of which costs the GIL once.
SELECT lane, max(id), count(*), sum(delivered), sum(dead), sum(filtered), sum(purged) FROM (
    SELECT id, lane, delivered, dead, filtered, purged FROM ledger WHERE id > ? ORDER BY id LIMIT ?
) GROUP BY lane ORDER BY max(id);

-- name: audit_aside
-- A page of what stands aside, summed up.
SELECT lane, kind, count(*), max(seq), sum(size) FROM (
    SELECT lane, kind, seq, length(record) AS size FROM set_aside WHERE (lane, seq) > (?, ?) ORDER BY lane, seq LIMIT ?
) GROUP BY lane, kind ORDER BY lane, max(seq);

-- name: audit_journal
SELECT count(*), max(_id) FROM (SELECT _id FROM queue_journal WHERE _id > ? AND _id <= ? ORDER BY _id LIMIT ?);

-- name: load_salvages
SELECT source, reason, found_at_ms, bytes, state, position, pieces, recovered, known, settled, dead, damaged, lost, holes,
    finished_at_ms
FROM salvage ORDER BY found_at_ms, source;

-- name: save_salvage
INSERT OR REPLACE INTO salvage (source, reason, found_at_ms, bytes, state, position, pieces, recovered, known, settled, dead,
    damaged, lost, holes, finished_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: restore_dead
INSERT INTO set_aside (lane, seq, kind, record, reason, status, attempts, set_aside_at_ms, not_before_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0);

-- name: tally_page
SELECT _id, timestamp, data FROM queue_journal WHERE _id > ? AND _id <= ? ORDER BY _id LIMIT ?;
