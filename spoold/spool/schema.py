"""The schema's version: fresh files, migrations, and who may read what.

A schema carries the oldest format that can still read it (``min_reader``). A program refuses only a spool whose
``min_reader`` is newer than itself, so a downgrade works where it can.
"""

import re
import sqlite3
from collections.abc import Iterable, Mapping
from importlib import resources

from spoold.errors import SpoolCorruptError, SpoolUnreadableError, SpoolVersionError

_CREATE = "CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL, min_reader INTEGER NOT NULL)"
#: The oldest format that reads what each migration leaves behind; a migration not listed here keeps the last one.
MIN_READER: Mapping[int, int] = {1: 1, 2: 2}


def shipped_migrations() -> dict[int, str]:
    """The migrations of this version: number → SQL."""
    folder = resources.files("spoold.spool").joinpath("migrations")
    return {
        int(file.name[:4]): file.read_text() for file in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", file.name)
    }


def migrate(
    connection: sqlite3.Connection,
    migrations: Mapping[int, str],
    min_reader: Mapping[int, int] = MIN_READER,
) -> None:
    """Bring the file to the newest format, in one transaction with the note that it was done.

    Raises:
        SpoolVersionError: A newer version wrote the file and says that this one can't read it.
    """
    newest = max(migrations)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_CREATE)
        version, needed = connection.execute("SELECT version, min_reader FROM schema").fetchone() or (0, 0)
        if not isinstance(version, int) or not isinstance(needed, int):
            raise SpoolCorruptError("the table schema holds what it can't")
        _check_reader(version, needed, newest)
        pending = [number for number in sorted(migrations) if number > version]
        for number in pending:
            for statement in statements_in(migrations[number]):
                connection.execute(statement)
            needed = min_reader.get(number, needed)
        if pending:
            connection.execute("DELETE FROM schema")
            connection.execute("INSERT INTO schema (version, min_reader) VALUES (?, ?)", (newest, needed))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_is_spool(connection: sqlite3.Connection, file: str) -> None:
    """Raise SpoolUnreadableError when the database is another program's; changes nothing."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    if tables <= {"queue_journal", "sqlite_sequence"}:
        # A spool whose first start was cut short; what persist-queue itself has put into its table is not ours.
        is_ours = not tables or connection.execute("SELECT 1 FROM queue_journal LIMIT 1").fetchone() is None
    else:
        is_ours = any(row[1] == "min_reader" for row in connection.execute("PRAGMA table_info(schema)").fetchall())
    if not is_ours:
        raise SpoolUnreadableError(
            f"{file} is another program's database (its tables: {', '.join(sorted(tables))}): "
            "move it elsewhere, or name another directory for the spool (spool.url, SPOOL_URL)"
        )


def check_readable(connection: sqlite3.Connection) -> None:
    """Raise SpoolVersionError unless this version can read the file; changes nothing."""
    version, needed = connection.execute("SELECT version, min_reader FROM schema").fetchone()
    _check_reader(version, needed, max(shipped_migrations()))


def _check_reader(version: int, needed: int, newest: int) -> None:
    if needed > newest:
        raise SpoolVersionError(
            f"the spool has format {version}, which needs a program that reads format {needed}; "
            f"this one reads {newest}: install the newer version again"
        )


def statements_in(script: str) -> Iterable[str]:
    """Cut a script into statements: ``executescript`` would commit the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
