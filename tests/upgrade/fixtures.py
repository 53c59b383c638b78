"""The fixtures of the spool's formats, unpacked, and what must be in them whatever has opened them since."""

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from spoold.record import DamagedEvent, Event, format_uuid
from spoold.spool.values import LaneState
from tests.support.spools import MIB, OpenSpool

HERE = Path(__file__).parent
#: Where a record holds the event's id.
_ID = slice(2, 18)

Ending = Literal["killed", "stopped"]
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Fixture:
    """A spool of one format, as a killed daemon left it, or one that was stopped."""

    version: int
    ending: Ending

    def __str__(self) -> str:
        return f"format {self.version}, {self.ending}"

    @cached_property
    def known(self) -> dict[str, Any]:
        """What callers were told, and what became of it."""
        found: dict[str, Any] = json.loads((HERE / f"format-{self.version}.json").read_text())
        return found

    def unpack(self, directory: Path) -> Path:
        """The spool's directory, below this one, as it was left."""
        with tarfile.open(HERE / f"format-{self.version}.tar.xz") as archive:
            archive.extractall(directory, filter="data")
        return directory / self.ending


ALL = [
    Fixture(int(file.stem.removeprefix("format-")), ending)
    for file in sorted(HERE.glob("format-*.json"))
    for ending in ("killed", "stopped")
]


def read_raw(directory: Path, sql: str) -> list[Row]:
    """What stands in a spool that nobody has open, read from a copy in memory: nothing in the directory changes."""
    copied = directory.parent / f"{directory.name} read"
    copied.mkdir()
    try:
        for file in directory.glob("spool.db*"):
            (copied / file.name).write_bytes(file.read_bytes())
        with closing(sqlite3.connect(copied / "spool.db")) as connection:
            return connection.execute(sql).fetchall()
    finally:
        for file in copied.iterdir():
            file.unlink()
        copied.rmdir()


def records(directory: Path) -> dict[int, bytes]:
    """What the journal holds, byte for byte, by seq."""
    return dict(read_raw(directory, "SELECT _id, data FROM queue_journal"))


def format_of(directory: Path) -> tuple[int, int]:
    """The format of a spool that nobody has open, and the oldest that can read it."""
    ((version, min_reader),) = read_raw(directory, "SELECT version, min_reader FROM schema")
    return version, min_reader


def pending(opened: OpenSpool, lane: str) -> list[Event | DamagedEvent]:
    """What the lane has before it, and aside."""
    state: LaneState = opened.lane(lane)
    page = opened.spool.read(lane, state.cursor, max_events=1000, max_bytes=MIB)
    assert page.is_end
    seqs = [one.seq for one in opened.spool.deferred(lane)]
    return [*page.events, *opened.spool.read_deferred(lane, seqs)]


def check_everything(opened: OpenSpool, fixture: Fixture, before: dict[int, bytes]) -> None:
    """Every record byte for byte, every counter, every event in its place, and I2 balances.

    Args:
        before: The records, as they were before this version has opened the spool.
    """
    known = fixture.known
    told = {event_id: bytes.fromhex(body) for event_id, body in known["acknowledged"].items()}
    assert opened.rows("PRAGMA integrity_check") == [("ok",)]
    assert dict(opened.rows("SELECT _id, data FROM queue_journal")) == before
    stats = opened.spool.stats()
    assert stats.accepted == known["accepted"] == len(told)
    assert (stats.damaged, stats.duplicates, stats.salvages) == (0, 0, ())
    for record in before.values():
        assert told[format_uuid(record[_ID])] in record
    assert len(before) == stats.accepted - opened.store.state.spool.trimmed
    assert [lane.name for lane in opened.spool.lanes()] == [lane["name"] for lane in known["lanes"]]
    for lane in known["lanes"]:
        _check_lane(opened, lane, known)
    assert [letter.event for letter in _dead(opened)] == sorted(_bad(opened), key=lambda event: event.seq)
    assert {letter.reason for letter in _dead(opened)} == {"'event' is bad"}
    check_balance(opened)


def check_balance(opened: OpenSpool) -> None:
    """I2, recounted from what is on the disk."""
    position = None
    while True:
        position, _progress, audit = opened.spool.audit(position, max_rows=1000)
        if audit is not None:
            assert audit.is_ok, [str(one) for one in audit.imbalances]
            return


def _check_lane(opened: OpenSpool, lane: dict[str, Any], known: dict[str, Any]) -> None:
    state: LaneState = opened.lane(lane["name"])
    for term in ("kind", "accepted", "pending", "delivered", "dead", "filtered", "purged"):
        assert getattr(state, term) == lane[term], f"{lane['name']}: {term}"
    assert state.word() == {"failing": "backoff"}.get(lane["state"], lane["state"])
    waiting = pending(opened, lane["name"])
    assert len(waiting) == lane["pending"]
    ids = {event.event_id for event in waiting if isinstance(event, Event)}
    assert len(ids) == len(waiting), "a record that can't be read"
    assert ids <= known["acknowledged"].keys()
    assert not ids & set(known["taken"][lane["name"]])
    assert state.deferred == (2 if lane["name"] == "late" else 0)
    for one in opened.spool.deferred(lane["name"]):
        assert (one.wait_ms, one.attempts, one.status) == (30_000, 1, 429)
        assert one.reason.startswith("throttled")


def _dead(opened: OpenSpool) -> list[Any]:
    return opened.spool.dead("events", after=0, max_events=1000)


def _bad(opened: OpenSpool) -> Iterator[Event]:
    page = opened.spool.read("events", 0, max_events=1000, max_bytes=MIB)
    return (event for event in page.events if isinstance(event, Event) and event.event_name == "Bad")
