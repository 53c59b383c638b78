"""A spool of the first format, for the migration to be cut in its midst."""

import random
from pathlib import Path

from spoold.spool.journal import JournalQueue
from spoold.spool.schema import migrate, shipped_migrations
from tests.power.book import Owed
from tests.support.clock import START_MS
from tests.support.events import make_draft, make_record

_EVENTS = 30


def write_old_spool(directory: Path, rng: random.Random) -> list[Owed]:
    """Make it, stopped in order: some events, one lane that has none of them yet. Returns the events."""
    queue = JournalQueue(directory, "fsync")
    try:
        execute = queue.connection.execute
        migrate(queue.connection, {1: shipped_migrations()[1]}, {1: 1})
        records = [make_record(draft=make_draft(f"Old {n}"), event_id=rng.randbytes(16)) for n in range(_EVENTS)]
        owed = [Owed(0, seq, record) for seq, record in enumerate(records, 1)]
        for _, seq, record in owed:
            execute(
                "INSERT INTO queue_journal (_id, data, timestamp) VALUES (?, ?, ?)",
                (seq, record, START_MS / 1000),
            )
        execute("INSERT INTO spool VALUES (1, ?, 0, 0, ?, ?, x'0102', 0, 0)", (_EVENTS, _EVENTS, START_MS))
        execute(
            "INSERT INTO lane VALUES ('mixpanel', 'mixpanel', 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, x'',"
            " 0, 0, 0)"
        )
        return owed
    finally:
        queue.close()
