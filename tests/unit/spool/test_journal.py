"""The file: pragmas as a durable spool needs them, and a table that stock persist-queue can list."""

import sqlite3
from collections import deque
from pathlib import Path
from shutil import copytree

import persistqueue
import pytest

from spoold.record import decode_record
from spoold.spool.journal import JournalSerializer, connect_writer
from spoold.spool.statements import SQL, chunk_bounds, insert_records
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool, open_spool


@pytest.mark.parametrize(("durability", "synchronous"), [("fsync", 2), ("os", 1)])
def test_the_writer_connection_has_the_pragmas_that_it_needs(
    state_dir: Path, durability: str, synchronous: int
) -> None:
    expected = {
        "auto_vacuum": 2,
        "journal_mode": "wal",
        "synchronous": synchronous,
        "secure_delete": 0,
        "wal_autocheckpoint": 0,
    }
    for _ in ("fresh", "existing"):
        with open_spool(state_dir, durability=durability) as opened:
            assert {name: opened.rows(f"PRAGMA {name}")[0][0] for name in expected} == expected


def test_a_pragma_that_does_not_take_is_refused(state_dir: Path) -> None:
    with sqlite3.connect(state_dir / "spool.db") as connection:
        # A file made without auto_vacuum keeps it off, whatever is asked for later.
        connection.execute("CREATE TABLE queue_journal (_id)")
    connection.close()

    with pytest.raises(sqlite3.OperationalError, match="auto_vacuum is 0, not 2"):
        connect_writer(state_dir / "spool.db", "fsync")


def test_stock_persist_queue_lists_a_copy(spool: OpenSpool, state_dir: Path) -> None:
    spool.append(make_drafts(3))
    copy = copytree(state_dir, state_dir / "copy")

    queue = persistqueue.SQLiteQueue(
        str(copy), name="journal", db_file_name="spool.db", serializer=JournalSerializer, multithreading=True
    )
    listed = queue.queue()
    queue.close()

    names = [decode_record(item["id"], item["data"]).event_name for item in listed]
    assert names == ["Order Paid 0", "Order Paid 1", "Order Paid 2"]
    assert len(spool.rows("SELECT 1 FROM queue_journal")) == 3


def test_only_one_connection_may_write(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(1))
    spool.spool.read(lane, 0, max_events=1, max_bytes=1)

    idle: deque[sqlite3.Connection] = spool.spool._reader._idle
    assert len(idle) == 1
    for sql in ("DELETE FROM queue_journal", "CREATE TABLE t (a)"):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            idle[0].execute(sql)


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101, 250, 499, 500, 501, 1000, 1234])
def test_rows_are_cut_into_few_sizes(rows: int) -> None:
    bounds = chunk_bounds(rows)

    assert [row for start, end in bounds for row in range(start, end)] == [*range(rows)]
    sizes = [end - start for start, end in bounds]
    assert all(size in {500, 100} for size in sizes[:-1])
    assert max(sizes, default=0) <= 500


def test_a_statement_takes_as_many_rows_as_its_count(spool: OpenSpool) -> None:
    spool.store.connection.execute(insert_records(2), (1, b"a", 0.5, 2, b"b", 0.6))

    assert spool.rows("SELECT _id, data FROM queue_journal") == [(1, b"a"), (2, b"b")]


@pytest.mark.parametrize("name", SQL)
def test_every_statement_can_be_prepared(spool: OpenSpool, name: str) -> None:
    count = SQL[name].count("?")

    assert spool.rows(f"EXPLAIN {SQL[name].rstrip(';')}", *[None] * count)


@pytest.mark.parametrize("name", SQL)
def test_no_statement_walks_a_table_that_grows(spool: OpenSpool, name: str) -> None:
    plan = spool.rows(f"EXPLAIN QUERY PLAN {SQL[name].rstrip(';')}", *[None] * SQL[name].count("?"))

    grown = ("queue_journal", "caller_id", "set_aside", "ledger")
    scans = [detail for *_, detail in plan if any(detail.startswith(f"SCAN {table}") for table in grown)]
    # A scan in key order under a LIMIT ends where the limit says; min() and max() look at one end; what is deferred has
    # an index of its own, and a bound.
    assert not scans or "LIMIT" in SQL[name] or name in {"seq_bounds", "deferred"}, scans
