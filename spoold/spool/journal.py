"""The journal's table: persist-queue's ``SQLiteQueue``, opened the way a durable spool needs it.

The table stays persist-queue's own, so that its stock classes list a *copy* of a spool. What the stock queue lacks
(many appends in one transaction, range reads, trimming) is in ``store.py``, ``reader.py`` and ``retention.py``.
"""

import sqlite3
from pathlib import Path

from persistqueue import SQLiteQueue

from spoold.spool.schema import check_is_spool

DATABASE_NAME = "spool.db"
#: SQLite takes a file of one byte for an empty one too, and deletes the log of an empty database.
EMPTY_BYTES = 1
_BUSY_SECONDS = 10.0


class JournalSerializer:
    """Records are bytes already."""

    @staticmethod
    def dumps(value: bytes) -> bytes:
        """As it is."""
        return value

    @staticmethod
    def loads(value: bytes) -> bytes:
        """As it is."""
        return value


class JournalQueue(SQLiteQueue):
    """persist-queue's queue on the one writer connection."""

    def __init__(self, directory: Path, durability: str, *, name: str = DATABASE_NAME) -> None:
        self._durability = durability
        super().__init__(str(directory), name="journal", serializer=JournalSerializer, db_file_name=name)

    @property
    def connection(self) -> sqlite3.Connection:
        """The only connection that writes or checkpoints: SQLite up to 3.51.2 can corrupt a WAL that two write."""
        connection: sqlite3.Connection = self._conn
        return connection

    def _new_db_connection(self, path: str, _multithreading: bool, _timeout: float) -> sqlite3.Connection:  # noqa: FBT001
        return connect_writer(Path(path) / self.db_file_name, self._durability)

    def _count(self) -> int:
        # The stock count walks all rows: start-up would grow with the backlog (I8).
        return 0

    def __del__(self) -> None:
        # The stock destructor closes the connection from whichever thread collects garbage; close() is explicit.
        pass


def connect_writer(file: Path, durability: str) -> sqlite3.Connection:
    """The writer connection, pragmas set in the one order that works, each read back.

    WAL before auto_vacuum makes auto_vacuum silently 0; Debian's secure_delete would fill a full disk by trimming it.
    """
    connection = sqlite3.connect(
        file, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None, cached_statements=512
    )
    wanted = {
        "auto_vacuum": ("INCREMENTAL", 2),
        "journal_mode": ("WAL", "wal"),
        "synchronous": ("FULL", 2) if durability == "fsync" else ("NORMAL", 1),
        "secure_delete": ("OFF", 0),
        "wal_autocheckpoint": ("0", 0),
        "mmap_size": ("0", 0),
    }
    try:
        # Before the pragmas, which would change it.
        check_is_spool(connection, str(file))
        for name, (value, _) in wanted.items():
            connection.execute(f"PRAGMA {name}={value}").fetchall()
        for name, (_, expected) in wanted.items():
            row = connection.execute(f"PRAGMA {name}").fetchone()
            # A build without mmap has no such pragma.
            if row is not None and row[0] != expected:
                raise sqlite3.OperationalError(f"PRAGMA {name} is {row[0]!r}, not {expected!r}")
    except BaseException:
        connection.close()
        raise
    return connection
