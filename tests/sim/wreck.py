"""A spool that is damaged in the simulated world: what it held before, and which of that the damage touched."""

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from spoold.spool.rows import load_state
from tests.sim.btree import PAGE_BYTES, row_pages, tree_pages
from tests.sim.disk import SimDisk
from tests.sim.oracles import is_intact, wants

_DATABASE, _LOG = "spool.db", "spool.db-wal"
_LOG_HEADER_BYTES, _FRAME_BYTES = 32, 24 + PAGE_BYTES
_BEHIND = 2
_FIRST_PAGES = 24
_FACTS = ("spool", "lane", "lane_gap", "salvage", "sqlite_sequence")
#: The first page that tells what each of the others is; a world's spool has no second one.
_POINTER_MAP = 2
#: Where the id stands in a record.
ID_BYTES = slice(2, 18)


@dataclass
class Wreck:
    """What a spool held at the moment when it was damaged, told by SQLite from a copy.

    Attributes:
        records: By event id.
        wanted: By event id: the lanes that had it pending.
        seqs: Where each event of the journal stood.
        last_seq: Of the journal.
        deferred: Who stood aside and was pending, once for each lane.
        touched: Ids of events of which the damage may have taken something.
        is_log_hit: It hit the log: what only that held may be gone, in silence where it was the last of it.
        is_midst_hit: It hit a transaction of the log that two others follow: what damages the end of one damages what
            proves the next.
        paused: Lanes that an operator had paused.
        knows_facts: The small tables, and what tells pages apart, are untouched.
        is_exact: Nothing has run on it since, and nothing had damaged it before.
    """

    records: dict[bytes, bytes]
    wanted: dict[bytes, frozenset[str]]
    seqs: dict[bytes, int]
    last_seq: int
    deferred: list[bytes]
    touched: set[bytes] = field(default_factory=set)
    is_log_hit: bool = False
    is_midst_hit: bool = False
    paused: frozenset[str] = frozenset()
    knows_facts: bool = True
    is_exact: bool = True


def wreck_dead(directory: Path, rng: random.Random) -> Wreck | None:
    """Damage the files of a spool that nobody has open; None where there is none, or nothing was hit."""
    if not (directory / _DATABASE).exists():
        return None
    return _wreck(directory, lambda: rng.choice(_INJURIES)(directory, rng))


def wreck_live(disk: SimDisk, rng: random.Random) -> Wreck | None:
    """Damage pages of the database while a process works on it; None where nothing was hit."""
    file = disk.directory / _DATABASE

    def injure() -> None:
        for number in _some_pages(file.stat().st_size, rng):
            disk.damage(file, number * PAGE_BYTES, _garbage(rng, PAGE_BYTES))

    return _wreck(disk.directory, injure)


def _wreck(directory: Path, injure: Callable[[], None]) -> Wreck | None:
    before = _read(directory)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        for name in (_DATABASE, _LOG):
            if (directory / name).exists():
                shutil.copy(directory / name, scratch)
        try:
            looked = _look(Path(scratch))
        except sqlite3.DatabaseError:
            # What is damaged already is not known well enough to be damaged once more.
            return None
    if looked is None:
        return None
    wreck, pages, facts, image, frames = looked
    injure()
    after = _read(directory)
    if after == before:
        return None
    wreck.is_log_hit = after[_LOG] != before[_LOG]
    wreck.is_midst_hit = _is_midst_hit(before[_LOG], after[_LOG], frames)
    hit = _hit_pages(image, before, after)
    wreck.touched = {event_id for event_id, own in pages if own & hit}
    # A bit of it was flipped before.
    wreck.touched |= {event_id for event_id, record in wreck.records.items() if not is_intact(record)}
    wreck.knows_facts = not (wreck.is_log_hit or facts & hit)
    return wreck


def _read(directory: Path) -> Mapping[str, bytes]:
    return {name: file.read_bytes() if (file := directory / name).exists() else b"" for name in (_DATABASE, _LOG)}


def _look(scratch: Path) -> tuple[Wreck, list[tuple[bytes, frozenset[int]]], set[int], bytes, int] | None:
    """What a spool that is whole holds; where each event and the small tables stand; its whole image; the log's frames.

    None for one that is not of the newest format, or that has just been begun.
    """
    with closing(sqlite3.connect(scratch / _DATABASE, isolation_level=None)) as connection:
        frames = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall())
        is_begun = "salvage" in roots and connection.execute("SELECT * FROM spool").fetchone() is not None
        if not is_begun:
            return None
        state = load_state(connection)
        journal = connection.execute("SELECT _id, data FROM queue_journal").fetchall()
        asides = connection.execute("SELECT id, lane, kind, record FROM set_aside").fetchall()
    image = (scratch / _DATABASE).read_bytes()
    records = {data[ID_BYTES]: data for _, data in journal}
    wanted: dict[bytes, set[str]] = {event_id: set() for event_id in records}
    for seq, data in journal:
        wanted[data[ID_BYTES]] = {lane.name for lane in state.lanes.values() if wants(lane, seq)}
    deferred = [record[ID_BYTES] for _, _, kind, record in asides if kind == "deferred"]
    for _, lane, kind, record in asides:
        if kind == "deferred":
            wanted.setdefault(record[ID_BYTES], set()).add(lane)
            records[record[ID_BYTES]] = record
    rows, others = row_pages(image, roots["queue_journal"]), row_pages(image, roots["set_aside"])
    pages = [(data[ID_BYTES], rows[seq]) for seq, data in journal]
    pages += [(record[ID_BYTES], others[number]) for number, _, _, record in asides]
    # The tables without rowids have one page each, as few as their rows are.
    facts = {1, _POINTER_MAP} | tree_pages(image, 1)
    facts |= {roots[name] for name in _FACTS if name in roots}
    frozen = {event_id: frozenset(lanes) for event_id, lanes in wanted.items()}
    wreck = Wreck(records, frozen, {data[ID_BYTES]: seq for seq, data in journal}, state.spool.last_seq, deferred)
    wreck.paused = frozenset(lane.name for lane in state.lanes.values() if lane.is_paused)
    return wreck, pages, facts, image, frames


def _hit_pages(image: bytes, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> set[int]:
    """Pages whose newest content may be gone."""
    hit: set[int] = set()
    log = before[_LOG]
    if after[_LOG] != log:
        frames = range(_LOG_HEADER_BYTES, len(log) - _FRAME_BYTES + 1, _FRAME_BYTES)
        hit |= {int.from_bytes(log[at : at + 4]) for at in frames}
    for number in range(1, len(image) // PAGE_BYTES + 1):
        span = slice((number - 1) * PAGE_BYTES, number * PAGE_BYTES)
        if before[_DATABASE][span] == image[span] and after[_DATABASE][span] != image[span]:
            hit.add(number)
    return hit


def _is_midst_hit(before: bytes, after: bytes, frames: int) -> bool:
    """Whether the damage is there to be seen: the log has its length, and there are transactions behind."""
    spans = [slice(at, at + _FRAME_BYTES) for at in range(_LOG_HEADER_BYTES, len(before), _FRAME_BYTES)][:frames]
    ends = [number for number, span in enumerate(spans) if any(before[span][4:8])]
    if len(after) != len(before) or len(ends) <= _BEHIND:
        return False
    return any(before[span] != after[span] for span in spans[: ends[-_BEHIND - 1] + 1])


# The injuries. Whole pages: what a checksum, or the page's own form, can tell.


def _some_pages(size: int, rng: random.Random) -> list[int]:
    count = max(1, size // PAGE_BYTES)
    # The first pages are those of the schema and the small tables: sparing them, what is left is well known.
    first = min(_FIRST_PAGES, count - 1) if rng.random() < 0.7 else 0
    return rng.sample(range(first, count), min(count - first, rng.choice([1, 1, 2, 3, max(1, count // 4)])))


def _garbage(rng: random.Random, size: int) -> bytes:
    # The first byte is no kind of page.
    return bytes(size) if rng.random() < 0.5 else b"\xaa" + rng.randbytes(size - 1)


def _overwrite(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def _hit_database(directory: Path, rng: random.Random) -> None:
    file = directory / _DATABASE
    size = file.stat().st_size
    for number in _some_pages(size, rng):
        start = number * PAGE_BYTES
        if start < size:
            _overwrite(file, start, _garbage(rng, min(PAGE_BYTES, size - start)))


def _cut_database(directory: Path, rng: random.Random) -> None:
    os.truncate(directory / _DATABASE, rng.choice([0, rng.randrange((directory / _DATABASE).stat().st_size + 1)]))


def _lose_database(directory: Path, rng: random.Random) -> None:
    del rng
    # Alone, without a log, it would be a spool that never was.
    if (log := directory / _LOG).exists() and log.stat().st_size:
        (directory / _DATABASE).unlink()


def _hit_log(directory: Path, rng: random.Random) -> None:
    file = directory / _LOG
    if not file.exists() or (size := file.stat().st_size) < _LOG_HEADER_BYTES:
        return
    frame = rng.randrange(size // _FRAME_BYTES + 1)
    start = max(0, _LOG_HEADER_BYTES + (frame - 1) * _FRAME_BYTES)
    length = _LOG_HEADER_BYTES if start == 0 else min(_FRAME_BYTES, size - start)
    _overwrite(file, start, _garbage(rng, length))


def _cut_log(directory: Path, rng: random.Random) -> None:
    file = directory / _LOG
    if file.exists():
        os.truncate(file, rng.randrange(file.stat().st_size + 1))


def _lose_log(directory: Path, rng: random.Random) -> None:
    del rng
    (directory / _LOG).unlink(missing_ok=True)


#: Pages most of all: what is left around them can be foretold.
_INJURIES: tuple[Callable[[Path, random.Random], None], ...] = (
    *[_hit_database] * 8,
    _cut_database,
    _lose_database,
    *[_hit_log] * 2,
    _cut_log,
    _lose_log,
)
