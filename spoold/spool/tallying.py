"""Counting what was accepted, by hour and name, from what the journal still holds."""

import sqlite3
from collections import Counter
from collections.abc import Iterator

from spoold.record import DamagedEvent, read_record
from spoold.spool.balance import TallyGroup, TallyPage, TallyPosition
from spoold.spool.lookup import find_first_from
from spoold.spool.statements import SQL

_MAX_ROWS = 1000
_HOUR_MS = 3_600_000


def tally_page(
    connection: sqlite3.Connection,
    since_ms: int | None,
    until_ms: int | None,
    position: TallyPosition | None,
    max_events: int,
) -> TallyPage:
    """The seam's ``tally``."""
    at = _begin(connection, since_ms, until_ms) if position is None else position
    limit = min(max_events, _MAX_ROWS)
    page = connection.execute(SQL["tally_page"], (at.after, at.upto, limit)).fetchall()
    counts = Counter(_groups(page))
    if len(page) < limit:
        return TallyPage(counts, None, 1.0)
    after = page[-1][0]
    return TallyPage(counts, at._replace(after=after), (after - at.start) / max(1, at.upto - at.start))


def _begin(connection: sqlite3.Connection, since_ms: int | None, until_ms: int | None) -> TallyPosition:
    first, last = connection.execute(SQL["seq_bounds"]).fetchone()
    if first is None:
        return TallyPosition(0, 0, 0)
    start = first - 1 if since_ms is None else find_first_from(connection, since_ms) - 1
    upto = last if until_ms is None else find_first_from(connection, until_ms) - 1
    return TallyPosition(start, start, upto)


def _groups(page: list[tuple[int, float, bytes]]) -> Iterator[TallyGroup]:
    for seq, stamp, data in page:
        at_ms = round(stamp * 1000)
        event = read_record(seq, data)
        kind, name = ("damaged", "") if isinstance(event, DamagedEvent) else (event.kind, event.event_name)
        yield TallyGroup(at_ms - at_ms % _HOUR_MS, kind, name)
