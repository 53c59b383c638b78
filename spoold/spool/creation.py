"""A new database: made whole under another name, and given its own when all of it is durable.

So ``spool.db`` is never half-made. What a first start leaves that was cut short has the other name, no event can have
been acknowledged in it, and the next start begins anew. An empty ``spool.db`` is a spool that lost its content: damage,
whatever lies beside it. Versions before this one made it in place, and left an empty file where their very first start
was cut; nothing tells that from a lost spool, so it is moved aside too.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from spoold.spool.journal import DATABASE_NAME, JournalQueue

#: The name until it is whole.
PART_NAME = f"{DATABASE_NAME}.new"
_PART_NAMES = (PART_NAME, f"{PART_NAME}-journal", f"{PART_NAME}-wal", f"{PART_NAME}-shm")


def create_database(directory: Path, durability: str, furnish: Callable[[sqlite3.Connection], None]) -> None:
    """Make ``spool.db`` where there is none. Whatever happens, it is there as a whole, or not at all.

    Args:
        furnish: Makes the tables, and what must stand in them.

    Raises:
        sqlite3.Error: It can't be written.
        OSError: It can't be given its name.
    """
    for name in _PART_NAMES:
        (directory / name).unlink(missing_ok=True)
    if (directory / DATABASE_NAME).exists():
        return
    with closing(JournalQueue(directory, durability, name=PART_NAME)) as queue:
        furnish(queue.connection)
        # Closing would do it too, but keeps to itself what went wrong.
        queue.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    _name(directory)


def _name(directory: Path) -> None:
    (directory / PART_NAME).rename(directory / DATABASE_NAME)
    # SQLite syncs it with the first sync of a log; here nothing depends on that.
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
