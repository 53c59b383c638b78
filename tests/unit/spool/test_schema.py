"""Migrations: a fresh file and a migrated one are the same, and a downgrade is refused only where it can't work."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoold.errors import SpoolVersionError
from spoold.spool import store
from spoold.spool.journal import JournalQueue
from spoold.spool.schema import MIN_READER, check_readable, migrate, shipped_migrations, statements_in
from tests.support.events import make_drafts
from tests.support.spools import open_spool

FIRST = shipped_migrations()
SECOND = {
    **FIRST,
    max(FIRST)
    + 1: "-- A pause.\nALTER TABLE lane ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;\nCREATE TABLE note (a);\n",
}
NEXT = max(SECOND)
#: The oldest format that reads what this version writes.
READER = MIN_READER[max(MIN_READER)]


@pytest.fixture
def connection(state_dir: Path) -> Iterator[sqlite3.Connection]:
    queue = JournalQueue(state_dir, "fsync")
    yield queue.connection
    queue.close()


def shape(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Every table and index, column by column: what SQLite makes of the schema's text."""
    names = connection.execute("SELECT type, name FROM sqlite_schema ORDER BY name").fetchall()
    columns = 'SELECT t.name, c.name, c.type, c."notnull", c.pk FROM sqlite_schema t, pragma_table_info(t.name) c'
    return [*names, *connection.execute(f"{columns} ORDER BY t.name, c.cid")]


def version(connection: sqlite3.Connection) -> tuple[int, int]:
    row: tuple[int, int] = connection.execute("SELECT version, min_reader FROM schema").fetchone()
    return row


def test_a_fresh_and_a_migrated_schema_are_the_same(connection: sqlite3.Connection, tmp_path: Path) -> None:
    migrate(connection, FIRST)
    migrate(connection, SECOND)
    fresh = JournalQueue(tmp_path, "fsync")
    migrate(fresh.connection, SECOND)

    assert shape(connection) == shape(fresh.connection)
    assert version(connection) == version(fresh.connection) == (NEXT, READER)
    fresh.close()


def test_migrating_again_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate(connection, FIRST)
    before = connection.execute("PRAGMA schema_version").fetchone()

    migrate(connection, FIRST)

    assert connection.execute("PRAGMA schema_version").fetchone() == before


def test_events_and_lanes_survive_a_migration(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(3))
        lanes = opened.spool.lanes()
    monkeypatch.setattr(store, "shipped_migrations", lambda: SECOND)
    with open_spool(state_dir) as opened:
        assert opened.spool.lanes() == lanes
        assert opened.seqs("mixpanel") == [1, 2, 3]
        assert opened.rows("SELECT version FROM schema") == [(NEXT,)]


def test_a_migration_that_fails_leaves_everything_as_it_was(connection: sqlite3.Connection) -> None:
    migrate(connection, FIRST)
    before = shape(connection), version(connection)
    broken = {**SECOND, NEXT + 1: "CREATE TABLE other (a);\nALTER TABLE nothing ADD COLUMN b;\n"}

    with pytest.raises(sqlite3.OperationalError, match="nothing"):
        migrate(connection, broken)
    assert (shape(connection), version(connection)) == before
    migrate(connection, SECOND)
    assert version(connection) == (NEXT, READER)


def test_a_newer_spool_that_this_program_can_read_is_taken_as_it_is(connection: sqlite3.Connection) -> None:
    migrate(connection, SECOND)
    before = shape(connection)

    migrate(connection, FIRST)
    check_readable(connection)

    assert shape(connection) == before
    assert version(connection) == (NEXT, READER)


def test_a_newer_spool_that_this_program_can_not_read_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection, SECOND, {1: 1, NEXT: NEXT})
    before = shape(connection)

    reason = f"has format {NEXT}, which needs .* format {NEXT}; .* reads {max(FIRST)}"
    with pytest.raises(SpoolVersionError, match=reason):
        migrate(connection, FIRST)
    with pytest.raises(SpoolVersionError):
        check_readable(connection)
    assert shape(connection) == before


def test_a_refused_spool_is_closed_and_left_alone(state_dir: Path) -> None:
    queue = JournalQueue(state_dir, "fsync")
    migrate(queue.connection, SECOND, {1: 1, NEXT: NEXT})
    before = shape(queue.connection)
    queue.close()

    with pytest.raises(SpoolVersionError), open_spool(state_dir):
        pass
    queue = JournalQueue(state_dir, "fsync")
    assert (shape(queue.connection), version(queue.connection)) == (before, (NEXT, NEXT))
    queue.close()


def test_a_script_is_cut_into_its_statements() -> None:
    script = "-- one;\nCREATE TABLE a (b TEXT DEFAULT ';');\n\nINSERT INTO a\nVALUES ('x;y');\n"

    assert [statement.strip() for statement in statements_in(script)] == [
        "-- one;\nCREATE TABLE a (b TEXT DEFAULT ';');",
        "INSERT INTO a\nVALUES ('x;y');",
    ]


def test_every_shipped_migration_ends_with_a_whole_statement() -> None:
    for script in shipped_migrations().values():
        assert "".join(statements_in(script)).strip() == script.strip()
