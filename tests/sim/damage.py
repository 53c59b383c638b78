"""Bits that turn over on the disk while the daemon is down."""

import random
from collections.abc import Iterable
from pathlib import Path

from tests.sim.ledger import Submitted

#: A longer record spills over to other pages.
_MAX_BODY_BYTES = 1000


def flip_record_bit(directory: Path, events: Iterable[Submitted], rng: random.Random) -> Submitted | None:
    """Flip one bit in the stored record of one of ``events``, unseen by SQLite; None when none can be hit for sure.

    The spool must be at rest: its log is gone, so the record in ``spool.db`` is the one that counts.
    """
    file = directory / "spool.db"
    content = bytearray(file.read_bytes())
    # What stands in a forgotten page too may not be what is read.
    targets = [e for e in events if len(e.draft.body) < _MAX_BODY_BYTES and content.count(e.draft.body) == 1]
    if not targets:
        return None
    event = rng.choice(targets)
    bit = content.index(event.draft.body) * 8 + rng.randrange(len(event.draft.body) * 8)
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    event.is_damaged = True
    return event
