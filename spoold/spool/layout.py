"""How a spool's database is laid out: what its header and its pragmas say. Reads only."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

#: The library that this program runs with.
SQLITE_VERSION = sqlite3.sqlite_version
#: In a database's header, the versions that write and read it (sqlite.org/fileformat.html, section 1.3.4).
_FORMAT = slice(18, 20)
_WAL_FORMAT = b"\x02\x02"
_AUTO_VACUUM = ("none", "full", "incremental")


class Layout(NamedTuple):
    """What stands in the file; what only a connection has (``synchronous``) is set by each start.

    Attributes:
        format: Version of the spool's schema.
        min_reader: The oldest format that can read it.
        journal_mode: ``wal`` or ``rollback``.
        auto_vacuum: ``none``, ``full`` or ``incremental``.
        page_bytes: Size of a page.
    """

    format: int
    min_reader: int
    journal_mode: str
    auto_vacuum: str
    page_bytes: int


def read_layout(connection: sqlite3.Connection, file: Path) -> Layout:
    """What ``connection``, which reads ``file``, finds. Raises sqlite3.Error and OSError.

    The journal's mode is taken from the header: a connection that was told ``immutable`` denies a log.
    """
    with file.open("rb") as database:
        is_wal = database.read(_FORMAT.stop)[_FORMAT] == _WAL_FORMAT
    version, min_reader = connection.execute("SELECT version, min_reader FROM schema").fetchone()
    auto_vacuum = connection.execute("PRAGMA auto_vacuum").fetchone()[0]
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    return Layout(version, min_reader, "wal" if is_wal else "rollback", _AUTO_VACUUM[auto_vacuum], page_bytes)
