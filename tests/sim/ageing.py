"""Spools of older formats: what a world's spool holds, written by the migrations of an earlier version alone."""

import random
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from spoold.spool.journal import DATABASE_NAME, JournalQueue
from spoold.spool.schema import migrate, shipped_migrations

#: What the first format does not have: who stands aside, gives up or is paused, and what is being replayed.
_NEWER_THAN_FIRST = (
    "SELECT EXISTS (SELECT 1 FROM lane WHERE deferred OR purged OR is_paused)"
    " OR EXISTS (SELECT 1 FROM replay WHERE state = 'running')"
)
#: What has no row in ``spool`` was never whole, and the second format knows of no salvage.
_HAS_NO_OLDER = "SELECT EXISTS (SELECT 1 FROM salvage) OR NOT EXISTS (SELECT 1 FROM spool)"


def newest_version() -> int:
    """The format that this program writes."""
    return max(shipped_migrations())


def version_of(connection: sqlite3.Connection) -> int:
    """The format of an open spool."""
    return int(connection.execute("SELECT version FROM schema").fetchone()[0])


def age(directory: Path, rng: random.Random) -> int | None:
    """Write a spool at rest anew in an older format; which one. None where it holds what no older one can."""
    file = directory / DATABASE_NAME
    if not file.exists() or file.with_name(f"{DATABASE_NAME}-wal").exists():
        return None
    with closing(sqlite3.connect(file)) as connection:
        if connection.execute("SELECT name FROM sqlite_master WHERE name = 'salvage'").fetchone() is None:
            return None
        if connection.execute(_HAS_NO_OLDER).fetchone()[0]:
            return None
        oldest = 2 if connection.execute(_NEWER_THAN_FIRST).fetchone()[0] else 1
    version = rng.randrange(oldest, newest_version())
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        _write(Path(scratch), file, version)
        (Path(scratch) / DATABASE_NAME).replace(file)
    return version


def _write(target: Path, source: Path, version: int) -> None:
    queue = JournalQueue(target, "os")
    connection = queue.connection
    migrate(connection, {number: script for number, script in shipped_migrations().items() if number <= version})
    connection.execute("ATTACH ? AS newer", (str(source),))
    names = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
    for name in sorted(name for (name,) in names if name != "schema"):
        columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({name})"))
        connection.execute(f"DELETE FROM main.{name}")
        connection.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM newer.{name}")
    connection.execute("DETACH newer")
    queue.close()
