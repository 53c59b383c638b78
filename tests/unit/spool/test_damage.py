"""I11: what was damaged on disk is found and told, never sent; and nothing else is called damage."""

import sqlite3
from pathlib import Path

import pytest

from spoold.errors import SpoolCorruptError, SpoolFailedError, SpoolFullError, UnknownLaneError
from spoold.record import DamagedEvent, Event
from spoold.spool.store import classify
from tests.support.events import make_big_drafts, make_draft, make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool
from tests.unit.spool.moves import make_deferred, move


def damage(spool: OpenSpool, seq: int, bit: int = 77) -> bytes:
    """Flip a bit of a stored record behind the spool's back; the record as it is now."""
    data = bytearray(spool.rows("SELECT data FROM queue_journal WHERE _id = ?", seq)[0][0])
    data[bit // 8] ^= 1 << bit % 8
    spool.rows("UPDATE queue_journal SET data = ? WHERE _id = ?", bytes(data), seq)
    return bytes(data)


def test_a_damaged_record_is_never_read_as_an_event(spool: OpenSpool, lane: str) -> None:
    spool.append([make_draft(caller_id="order-81")])
    bits = len(spool.rows("SELECT data FROM queue_journal")[0][0]) * 8

    for bit in range(bits):
        damage(spool, 1, bit)
        events = spool.spool.read(lane, 0, max_events=10, max_bytes=MIB).events
        assert [type(event) for event in events] == [DamagedEvent], f"bit {bit}"
        damage(spool, 1, bit)
    assert isinstance(spool.spool.read(lane, 0, max_events=10, max_bytes=MIB).events[0], Event)


def test_the_neighbours_of_a_damaged_record_are_read(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    data = damage(spool, 2)

    events = spool.spool.read(lane, 0, max_events=10, max_bytes=MIB).events

    assert [(event.seq, type(event)) for event in events] == [(1, Event), (2, DamagedEvent), (3, Event)]
    damaged = events[1]
    assert isinstance(damaged, DamagedEvent)
    assert damaged.data == data
    assert "checksum" in damaged.reason


@pytest.mark.parametrize("data", [b"", b"\x00", b"x" * 500])
def test_a_record_of_any_length_is_read_as_damage(spool: OpenSpool, lane: str, data: bytes) -> None:
    spool.append(make_drafts(3))
    spool.rows("UPDATE queue_journal SET data = ? WHERE _id = 2", data)

    events = spool.spool.read(lane, 0, max_events=10, max_bytes=MIB).events

    assert [type(event) for event in events] == [Event, DamagedEvent, Event]


def test_the_oldest_pending_event_may_be_damaged(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    damage(spool, 1)

    assert spool.spool.oldest_pending_at_ms(lane) is None
    assert spool.spool.stats().pending == 2


@pytest.mark.parametrize("content", [b"not a database, but long enough" * 100, b"SQLite format 3\0" * 500])
def test_a_file_that_is_no_database_is_called_corrupt_and_left_alone(state_dir: Path, content: bytes) -> None:
    file = state_dir / "spool.db"
    file.write_bytes(content)

    with pytest.raises(SpoolCorruptError, match="can't read the spool"), open_spool(state_dir):
        pass
    assert file.read_bytes() == content


def test_a_database_with_a_broken_schema_is_called_corrupt(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.append(make_drafts(2))
    file = state_dir / "spool.db"
    content = bytearray(file.read_bytes())
    content[100:400] = b"\xff" * 300
    file.write_bytes(content)

    with pytest.raises(SpoolCorruptError), open_spool(state_dir):
        pass


def test_a_broken_page_is_called_corrupt_when_it_is_read(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_big_drafts(50))
    file = state_dir / "spool.db"
    content = bytearray(file.read_bytes())
    for page in range(40, len(content) // 4096):
        content[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    file.write_bytes(content)

    with open_spool(state_dir) as opened, pytest.raises(SpoolCorruptError):
        opened.spool.read("mixpanel", 0, max_events=50, max_bytes=10 * MIB)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_CORRUPT, SpoolCorruptError),
        (sqlite3.SQLITE_CORRUPT_INDEX, SpoolCorruptError),
        (sqlite3.SQLITE_NOTADB, SpoolCorruptError),
        (sqlite3.SQLITE_FULL, SpoolFullError),
        (sqlite3.SQLITE_IOERR, SpoolFailedError),
        (sqlite3.SQLITE_IOERR_FSYNC, SpoolFailedError),
        (sqlite3.SQLITE_IOERR_READ, SpoolFailedError),
        (sqlite3.SQLITE_CANTOPEN, SpoolFailedError),
        (sqlite3.SQLITE_READONLY, SpoolFailedError),
        (sqlite3.SQLITE_PERM, SpoolFailedError),
        (sqlite3.SQLITE_BUSY, SpoolFailedError),
    ],
)
def test_only_damage_is_called_damage(code: int, expected: type[Exception]) -> None:
    error = sqlite3.DatabaseError("what SQLite said")
    error.sqlite_errorcode = code

    assert type(classify(error)) is expected


def test_an_unknown_lane_is_no_damage(spool: OpenSpool) -> None:
    with pytest.raises(UnknownLaneError):
        spool.spool.read("nobody", 0, max_events=1, max_bytes=1)


def test_a_text_that_is_none_is_damage(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    move(spool, lane, 1, delivered=0, deferred=[make_deferred(1)])
    spool.rows("UPDATE set_aside SET reason = CAST(x'ff3f27' AS TEXT)")

    with pytest.raises(SpoolCorruptError, match="a text in a row is none"):
        spool.spool.deferred(lane)
