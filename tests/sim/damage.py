"""Bits that turn over on the disk while the daemon is down."""

import random
from collections.abc import Iterable
from pathlib import Path

from tests.sim.ledger import Submitted

#: A longer record spills over to other pages.
_MAX_BODY_BYTES = 1000
#: Around the request in a record: its tag and length before it, the checksum behind it.
_BYTES_BEFORE, _BYTES_BEHIND = 2, 5


def flip_record_bit(directory: Path, events: Iterable[Submitted], rng: random.Random) -> Submitted | None:
    """Flip one bit in the stored record of one of ``events``, unseen by SQLite; None when none can be hit for sure.

    Only where the spool is at rest: its log is gone, so the record in ``spool.db`` is the one that counts.
    """
    if (directory / "spool.db-wal").exists():
        return None
    file = directory / "spool.db"
    content = bytearray(file.read_bytes())
    # What stands in a forgotten page too may not be what is read.
    targets = [e for e in events if len(e.draft.body) < _MAX_BODY_BYTES and content.count(e.draft.body) == 1]
    if not targets:
        return None
    event = rng.choice(targets)
    start = content.index(event.draft.body) - _BYTES_BEFORE
    bit = start * 8 + rng.randrange((_BYTES_BEFORE + len(event.draft.body) + _BYTES_BEHIND) * 8)
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    event.damaged_seq = event.receipt.seq if event.receipt else None
    return event
