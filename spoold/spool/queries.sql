-- Every statement of the spool, by name. A review of SQL is a review of this file.

-- name: load_spool
SELECT accepted, duplicates, trimmed, last_seq, last_id_ms, id_tag, damaged, dead_bytes FROM spool WHERE id = 1;

-- name: create_spool
INSERT INTO spool (id, accepted, duplicates, trimmed, last_seq, last_id_ms, id_tag, damaged, dead_bytes)
VALUES (1, 0, 0, 0, 0, 0, ?, 0, 0);

-- name: save_spool
UPDATE spool SET accepted = ?, duplicates = ?, trimmed = ?, last_seq = ?, last_id_ms = ?, id_tag = ?, damaged = ?,
    dead_bytes = ?
WHERE id = 1;

-- name: load_lanes
SELECT name, kind, is_closed, epoch, opened_seq, cursor, opened_at, closed_seq, accrued, delivered, dead, filtered, purged,
    failures, is_stopped, wait_ms, not_before_ms, last_error, last_error_at_ms, last_settlement, base_delivered, base_dead,
    base_filtered
FROM lane ORDER BY name;

-- name: save_lane
INSERT OR REPLACE INTO lane (name, kind, is_closed, epoch, opened_seq, cursor, opened_at, closed_seq, accrued, delivered, dead,
    filtered, purged, failures, is_stopped, wait_ms, not_before_ms, last_error, last_error_at_ms, last_settlement,
    base_delivered, base_dead, base_filtered)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: load_gaps
SELECT lane, after, upto, events, opened_at FROM lane_gap ORDER BY lane, after;

-- name: save_gap
INSERT INTO lane_gap (lane, after, upto, events, opened_at) VALUES (?, ?, ?, ?, ?);

-- name: delete_gaps
-- Gaps that a lane has left behind and whose events are forgotten.
DELETE FROM lane_gap WHERE lane = ? AND upto <= ?;

-- name: caller_candidates
-- Where ids with these first 8 bytes stand; the record decides whether it is the same id.
SELECT seq FROM caller_id WHERE key = ?;

-- name: record_id
SELECT substr(data, 3, 16) FROM queue_journal WHERE _id = ?;

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
SELECT group_concat(_id || ':' || size) FROM (
    SELECT _id, length(data) AS size FROM queue_journal WHERE _id > ? AND _id <= ? ORDER BY _id LIMIT ?
);

-- name: page_records
SELECT group_concat(hex(data)) FROM (
    SELECT data FROM queue_journal WHERE _id > ? AND _id <= ? ORDER BY _id
);

-- name: add_set_aside
INSERT INTO set_aside (lane, seq, kind, record, reason, status, attempts, set_aside_at_ms, not_before_ms)
SELECT ?, _id, 'dead', data, ?, ?, ?, ?, 0 FROM queue_journal WHERE _id = ?;

-- name: set_aside_bytes
SELECT length(record) FROM set_aside WHERE lane = ? AND seq = ?;

-- name: is_known_damaged
SELECT 1 FROM set_aside WHERE seq = ? AND reason = 'damaged' LIMIT 1;

-- name: set_aside_reason
SELECT reason FROM set_aside WHERE lane = ? AND seq = ? AND kind = 'dead';

-- name: add_ledger
INSERT INTO ledger (lane, after, upto, at_ms, took_ms, status, outcome, delivered, dead, filtered)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: trim_candidates
-- Only the oldest few are looked at: the cost must not grow with the backlog.
SELECT max(_id), count(*) FROM (SELECT _id, timestamp FROM queue_journal ORDER BY _id LIMIT ?)
WHERE _id <= ? AND timestamp < ?;

-- name: trim_caller_ids
DELETE FROM caller_id WHERE (key, seq) IN (SELECT substr(data, 3, 8), _id FROM queue_journal WHERE _id <= ?);

-- name: trim_journal
DELETE FROM queue_journal WHERE _id <= ?;

-- name: folded_ledger
SELECT lane, sum(delivered), sum(dead), sum(filtered) FROM ledger WHERE upto <= ? GROUP BY lane;

-- name: trim_ledger
DELETE FROM ledger WHERE upto <= ?;
