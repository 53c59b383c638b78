"""A log that a daemon left behind, held against its database before anything is written.

SQLite takes whatever lies beside the database: another spool's log, an older one, one that ends in its midst. And it
merges what it took into the database when the last connection closes, which leaves nothing of what was right.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from spoold.errors import SpoolCorruptError
from spoold.spool.statements import SQL
from spoold.spool.wal import LOG_HEADER_BYTES, hides_commits


class Sight(NamedTuple):
    """What tells one spool, and one moment of it, from another."""

    id_tag: bytes
    last_seq: int


class Leftover(NamedTuple):
    """A log that lay beside the database when it was opened. None stands for what can't be read.

    Attributes:
        alone: What the database says without it.
        both: What it says with it.
    """

    alone: Sight | None
    both: Sight | None


@contextmanager
def leftover_log(file: Path) -> Iterator[Leftover | None]:
    """Keep a leftover log as it is while the database is opened. Costs nothing after a stop in order: there is none."""
    log = _log_of(file)
    if not file.exists() or not log.exists() or log.stat().st_size <= LOG_HEADER_BYTES:
        yield None
        return
    # Before any other connection: closing a file drops all locks that this process has on it.
    with _connect(file, "immutable=1") as connection:
        alone = look(connection)
    with kept_log(file) as both:
        yield Leftover(alone, both)


@contextmanager
def kept_log(file: Path) -> Iterator[Sight | None]:
    """SQLite merges the log when the last connection closes; meanwhile the last one is one that can only read."""
    with _connect(file, "mode=ro") as guard:
        yield look(guard)


def check_log(file: Path, frames: int, leftover: Leftover, *, is_synced: bool) -> None:
    """Raise SpoolCorruptError when the log is not this database's, or goes on behind what SQLite takes of it.

    Before anything is written: opening the database for writing begins a log anew that SQLite takes nothing of.

    Args:
        frames: How many frames SQLite takes.
        is_synced: Each commit was synced before the next: only then a hole in the log is damage.
    """
    alone, both = leftover
    if both is None:
        # Whatever is wrong, opening it for writing says so.
        return
    if alone is not None and (alone.id_tag != both.id_tag or alone.last_seq > both.last_seq):
        raise SpoolCorruptError("the log beside the database is another spool's, or an older one")
    if is_synced and hides_commits(_log_of(file), frames):
        raise SpoolCorruptError(f"the log is damaged behind frame {frames}, and commits stand behind that")


def look(connection: sqlite3.Connection) -> Sight | None:
    """What a connection sees; None where it can't be read."""
    with suppress(sqlite3.Error, UnicodeDecodeError):
        row = connection.execute(SQL["load_spool"]).fetchone()
        return Sight(id_tag=row[5], last_seq=row[3]) if row is not None and isinstance(row[3], int) else None
    return None


@contextmanager
def _connect(file: Path, how: str) -> Iterator[sqlite3.Connection]:
    uri = f"{file.absolute().as_uri()}?{how}"
    with closing(sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)) as connection:
        yield connection


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")
