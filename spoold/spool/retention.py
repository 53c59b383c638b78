"""Forgetting what every lane is done with, in steps that never hold the writer long."""

from dataclasses import replace

from spoold.spool.rows import RUNNING, State
from spoold.spool.statements import SQL
from spoold.spool.transaction import Transaction

_FOREVER = float("inf")


def trim(tx: Transaction, max_events: int, *, older_than_ms: int | None) -> int:
    """Forget the oldest settled events, their callers' ids and their ledger rows.

    Args:
        max_events: At most this many; bounds how long the writer is held.
        older_than_ms: Only what was received before (hybrid clock); None when room is short and age does not count.

    Returns:
        How many events were forgotten.
    """
    execute = tx.connection.execute
    settled_seq = State(tx.spool, tx.lanes, tx.replays).settled_seq()
    if older_than_ms is not None:
        # What a replay has still to send outlives its retention, but not a full disk.
        running = (replay for replay in tx.replays.values() if replay.state == RUNNING and not replay.is_dead)
        settled_seq = min([settled_seq, *(replay.cursor for replay in running)])
    before = _FOREVER if older_than_ms is None else older_than_ms / 1000
    upto, count = execute(SQL["trim_candidates"], (max_events, settled_seq, before)).fetchone()
    if not count:
        return 0
    execute(SQL["trim_caller_ids"], (upto,))
    execute(SQL["trim_journal"], (upto,))
    for lane, delivered, dead, filtered, purged in execute(SQL["folded_ledger"], (upto,)).fetchall():
        row = tx.lanes[lane]
        tx.save_lane(
            replace(
                row,
                base_delivered=row.base_delivered + delivered,
                base_dead=row.base_dead + dead,
                base_filtered=row.base_filtered + filtered,
                base_purged=row.base_purged + purged,
            )
        )
    execute(SQL["trim_ledger"], (upto,))
    for row in list(tx.lanes.values()):
        # A gap that the cursor has still to jump stays, though nothing is in it any more.
        gaps = tuple(gap for gap in row.gaps if gap.upto > min(upto, row.cursor))
        if gaps != row.gaps:
            execute(SQL["delete_gaps"], (row.name, min(upto, row.cursor)))
            tx.save_lane(replace(row, gaps=gaps))
    tx.spool = tx.spool._replace(trimmed=tx.spool.trimmed + count)
    return int(count)
