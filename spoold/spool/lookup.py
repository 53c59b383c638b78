"""Finding an event by its id: callers' ids by their index, our own by the time in them."""

import sqlite3

from spoold.spool.ids import is_made_here, time_in_id
from spoold.spool.statements import SQL

#: What the index of callers' ids holds of an id.
KEY = slice(0, 8)
_SCAN_ROWS = 256


def find_seq(connection: sqlite3.Connection, event_id: bytes, id_tag: bytes) -> int | None:
    """Where ``event_id`` stands in the journal, or None; costs some 20 index look-ups at most, whatever the backlog."""
    if is_made_here(event_id, id_tag):
        seq = _find_by_time(connection, event_id)
        if seq is not None:
            return seq
    for (seq,) in connection.execute(SQL["caller_candidates"], (event_id[KEY],)).fetchall():
        row = connection.execute(SQL["record_id"], (seq,)).fetchone()
        if row is not None and row[0] == event_id:
            return int(seq)
    return None


def find_first_from(connection: sqlite3.Connection, time_ms: int) -> int:
    """The first seq whose time (hybrid clock, Unix milliseconds) is not below ``time_ms``; one behind the last if none.

    The journal must not be empty.
    """
    low, high = connection.execute(SQL["seq_bounds"]).fetchone()
    # It lies in [low, high + 1].
    high += 1
    while low < high:
        middle = (low + high) // 2
        seq, stamp = connection.execute(SQL["first_time_from"], (middle,)).fetchone()
        if stamp < time_ms / 1000:
            low = seq + 1
        else:
            high = middle
    return int(low)


def _find_by_time(connection: sqlite3.Connection, event_id: bytes) -> int | None:
    if connection.execute(SQL["seq_bounds"]).fetchone()[0] is None:
        return None
    time_ms = time_in_id(event_id)
    low = find_first_from(connection, time_ms)
    while rows := connection.execute(SQL["ids_from"], (low, _SCAN_ROWS)).fetchall():
        for seq, stamp, stored_id in rows:
            if stamp > time_ms / 1000:
                return None
            if stored_id == event_id:
                return int(seq)
        low = rows[-1][0] + 1
    return None
