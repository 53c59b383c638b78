"""A damaged spool is moved aside whole, and nothing else is; a crash in the midst leaves one or the other."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoold.errors import SpoolFailedError, SpoolUnreadableError, SpoolVersionError
from spoold.spool.quarantine import UNKNOWN_SEQ, mark_damaged, quarantines
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool, open_spool
from tests.unit.spool.salvaging import Recovered, contents, copy_as_killed, recover

EVENTS = 300


@pytest.fixture
def killed(state_dir: Path) -> Path:
    """A spool of 300 events and two lanes whose daemon was killed: most is in the database, the last 20 in the log."""
    with open_spool(state_dir / "live") as opened:
        for lane in ("a", "b"):
            opened.spool.open_lane(lane, "mixpanel", "earliest")
        opened.append(make_drafts(EVENTS - 20))
        opened.store.checkpoint()
        for _ in range(20):
            opened.append(make_drafts(1))
        return copy_as_killed(opened, state_dir / "killed")


@pytest.fixture
def stopped(state_dir: Path) -> Path:
    """The same, stopped in order: there is no log."""
    directory = state_dir / "stopped"
    directory.mkdir()
    with open_spool(directory) as opened:
        opened.spool.open_lane("a", "mixpanel", "earliest")
        opened.append(make_drafts(EVENTS))
    return directory


def overwrite(file: Path, start: int, data: bytes) -> None:
    content = bytearray(file.read_bytes())
    content[start : start + len(data)] = data
    file.write_bytes(content)


def break_header(directory: Path) -> None:
    (directory / "spool.db-wal").unlink(missing_ok=True)
    overwrite(directory / "spool.db", 0, b"\xa5" * 100)


def break_schema(directory: Path) -> None:
    (directory / "spool.db-wal").unlink(missing_ok=True)
    overwrite(directory / "spool.db", 100, b"\xff" * 300)


def break_schema_beside_log(directory: Path) -> None:
    overwrite(directory / "spool.db", 100, b"\xff" * 300)


def break_log(directory: Path) -> None:
    log = directory / "spool.db-wal"
    overwrite(log, log.stat().st_size // 2, b"\xa5" * 64)


def break_log_header(directory: Path) -> None:
    overwrite(directory / "spool.db-wal", 8, b"\xa5")


def empty(directory: Path) -> None:
    (directory / "spool.db").write_bytes(b"")


def empty_without_log(directory: Path) -> None:
    (directory / "spool.db-wal").unlink()
    empty(directory)


def lose_database(directory: Path) -> None:
    (directory / "spool.db").unlink()


def mark(directory: Path) -> None:
    mark_damaged(directory, "database disk image is malformed")


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (break_header, "not a database"),
    (break_schema, "malformed"),
    (break_schema_beside_log, "malformed"),
    (break_log, "the log is damaged"),
    (break_log_header, "the log is damaged"),
    (empty, "is empty, and its log"),
    (empty_without_log, "is empty"),
    (lose_database, "is missing, and its log"),
    (mark, "malformed"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_a_damaged_spool_is_moved_aside_whole(killed: Path, damage: Callable[[Path], None], reason: str) -> None:
    damage(killed)
    before = {name: data for name, data in contents(killed).items() if name.startswith("spool.db")}

    opened = recover(killed)
    opened.spool.close()

    moved = opened.quarantined
    assert moved is not None
    assert reason in moved.reason
    assert moved.bytes == sum(map(len, before.values()))
    assert {name: data for name, data in contents(moved.folder).items() if name.startswith("spool.db")} == before
    assert not (killed / "damaged").exists()


def test_what_is_moved_aside_is_for_the_owner_and_the_group_alone(killed: Path) -> None:
    mark(killed)
    umask = os.umask(0)
    try:
        opened = recover(killed)
    finally:
        os.umask(umask)
    opened.spool.close()

    assert opened.quarantined is not None
    folders = (opened.quarantined.folder, killed / "quarantine")
    assert [oct(folder.stat().st_mode & 0o777) for folder in folders] == ["0o750", "0o750"]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_the_quarantined_files_never_change(killed: Path, damage: Callable[[Path], None], reason: str) -> None:
    del reason
    damage(killed)
    opened = recover(killed)
    assert opened.quarantined is not None
    before = contents(opened.quarantined.folder)

    opened.append(make_drafts(100))
    opened.salvage()
    opened.store.checkpoint()
    opened.spool.close()
    recover(killed).spool.close()

    assert contents(opened.quarantined.folder) == before


@pytest.mark.parametrize("damage", [break_log, break_log_header, mark])
def test_the_next_seq_is_a_million_behind_the_last(killed: Path, damage: Callable[[Path], None]) -> None:
    damage(killed)

    opened = recover(killed)

    assert opened.append(make_drafts(1))[0].seq == 1_000_000 + EVENTS
    opened.spool.close()


@pytest.mark.parametrize("damage", [break_schema, empty, empty_without_log, lose_database])
def test_where_nothing_tells_the_last_seq_the_next_is_beyond_any(killed: Path, damage: Callable[[Path], None]) -> None:
    damage(killed)

    first = recover(killed)
    assert first.append(make_drafts(1))[0].seq == UNKNOWN_SEQ
    first.spool.close()
    empty(killed)
    second = recover(killed)

    assert second.append(make_drafts(1))[0].seq > UNKNOWN_SEQ
    second.spool.close()


def test_a_seq_that_is_damaged_downwards_is_held_by_the_others(stopped: Path) -> None:
    with sqlite3.connect(stopped / "spool.db", isolation_level=None) as connection:
        connection.execute("UPDATE spool SET last_seq = 7, accepted = 7")
    connection.close()
    mark(stopped)

    opened = recover(stopped)

    assert opened.append(make_drafts(1))[0].seq == 1_000_000 + EVENTS
    opened.spool.close()


def test_the_ids_go_on_behind_those_that_were_given(state_dir: Path) -> None:
    clock = FakeClock(START_MS + 5 * 86_400_000)
    with open_spool(state_dir, clock=clock) as opened:
        old = opened.append(make_drafts(1))[0].event_id
    mark(state_dir)

    # Its clock is five days behind.
    later = recover(state_dir)

    assert later.append(make_drafts(1))[0].event_id > old
    later.spool.close()


# What is no damage.


def test_a_healthy_spool_is_never_moved(killed: Path, stopped: Path) -> None:
    for directory in (killed, stopped):
        opened = recover(directory, lanes=("a",))
        assert opened.quarantined is None
        assert len(opened.pending("a")) == EVENTS
        opened.spool.close()
        assert not (directory / "quarantine").exists()


@pytest.mark.parametrize("keep", [1, 32, 4000])
def test_a_log_whose_end_is_torn_is_no_damage(killed: Path, keep: int) -> None:
    """A power cut in the midst of the last commit: nobody was told that it succeeded."""
    log = killed / "spool.db-wal"
    content = log.read_bytes()
    log.write_bytes(content[: len(content) - 4120 + keep])

    opened = recover(killed)

    assert opened.quarantined is None
    assert len(opened.pending("a")) == EVENTS - 1
    opened.spool.close()


def test_another_programs_database_is_refused_with_its_name(state_dir: Path) -> None:
    with sqlite3.connect(state_dir / "spool.db") as connection:
        connection.execute("CREATE TABLE invoices (id)")
        connection.execute("CREATE TABLE schema (anything)")
    connection.close()
    before = contents(state_dir)

    with pytest.raises(SpoolUnreadableError, match=r"another program.*invoices, schema.*move it elsewhere"):
        recover(state_dir)

    assert contents(state_dir) == before


def test_a_newer_format_is_refused_and_stays(stopped: Path) -> None:
    with sqlite3.connect(stopped / "spool.db") as connection:
        connection.execute("UPDATE schema SET version = 99, min_reader = 99")
    connection.close()

    with pytest.raises(SpoolVersionError):
        recover(stopped)

    assert not (stopped / "quarantine").exists()


# Crash points.

_CALLS = ("mkdir", "link", "fsync", "rename", "unlink")


class CrashError(BaseException):
    """The process is gone."""


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[str]]]:
    """Have the n-th change to the file system be the last thing that the process does, or does not come to."""

    def arm(number: int) -> list[str]:
        done: list[str] = []
        for name in _CALLS:
            real = getattr(os, name)

            def call(*args: object, _name: str = name, _real: Callable[..., object] = real, **more: object) -> object:
                if len(done) == number:
                    raise CrashError
                done.append(_name)
                return _real(*args, **more)

            monkeypatch.setattr(os, name, call)
        return done

    yield arm
    monkeypatch.undo()


def test_after_a_crash_anywhere_the_old_spool_or_a_whole_quarantine_is_there(
    killed: Path, crash_at: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(killed)
    before = {name: data for name, data in contents(killed).items() if name.startswith("spool.db")}
    for number in range(100):
        directory = killed.parent / f"crash{number}"
        directory.mkdir()
        for name, data in contents(killed).items():
            (directory / name).write_bytes(data)
        done = crash_at(number)
        try:
            recover(directory).spool.close()
        except CrashError:
            monkeypatch.undo()
        else:
            monkeypatch.undo()
            assert number > 10, done
            return
        at = next((one.folder for one in quarantines(directory)), directory)
        assert {name: data for name, data in contents(at).items() if name.startswith("spool.db")} == before, done

        opened = recover(directory)
        assert [one.reason for one in quarantines(directory)] == ["database disk image is malformed"], done
        assert len(opened.salvage()) == 1
        assert len(opened.pending("a")) == EVENTS, done
        opened.spool.close()
    raise AssertionError("it never came to the end")


@pytest.mark.parametrize("gone", [("spool.db",), ("spool.db-wal",), ("spool.db", "spool.db-wal")])
def test_what_loses_its_name_in_the_midst_of_being_moved_is_kept_and_salvaged(
    killed: Path, crash_at: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch, gone: tuple[str, ...]
) -> None:
    mark(killed)
    before = {name: data for name, data in contents(killed).items() if name.startswith("spool.db")}
    calls = iter(range(100))
    while not (killed / "quarantine/part/spool.db-wal").exists():
        crash_at(next(calls))
        with pytest.raises(CrashError):
            recover(killed)
        monkeypatch.undo()
    for name in gone:
        (killed / name).unlink()

    opened = recover(killed)
    kept = quarantines(killed)[0].folder
    assert {name: data for name, data in contents(kept).items() if name.startswith("spool.db")} == before
    opened.salvage()
    assert len(opened.pending("a")) == EVENTS
    opened.spool.close()


def test_a_disk_that_refuses_leaves_the_old_spool(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(killed)

    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), "spool.db")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(SpoolFailedError, match=r"can't be moved aside, it is still whole: spool\.db"):
        recover(killed)
    monkeypatch.undo()

    assert recovered_count(killed) == EVENTS


def recovered_count(directory: Path) -> int:
    opened: Recovered = recover(directory)
    opened.salvage()
    count = len(opened.pending("a"))
    opened.spool.close()
    return count


def test_a_spool_that_is_closed_as_damaged_is_left_as_it_lies(state_dir: Path) -> None:
    """SQLite would merge the log into the database as the last connection closes."""
    with open_spool(state_dir) as opened:
        opened.append(make_drafts(10))
        before = contents(state_dir)
        opened.store.is_damaged = True

    assert contents(state_dir) == before


def test_a_start_that_finds_nothing_asks_little(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I8: no second connection, no look into the file."""
    connections: list[object] = []
    real = sqlite3.connect

    def connect(*args: object, **more: object) -> sqlite3.Connection:
        connections.append(args)
        return real(*args, **more)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", connect)
    opened: OpenSpool = recover(stopped, lanes=())
    monkeypatch.undo()

    assert len(connections) == 1
    opened.spool.close()
