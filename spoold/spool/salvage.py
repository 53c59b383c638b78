"""Bringing over what is left of a damaged spool, in small steps behind live traffic, over restarts, once.

A step appends the events of some pages and notes how far it is, in one commit. An event keeps its id, its time and its
bytes; it is pending in the lanes that had it pending, which the others pass over. What every lane was done with stays
where it is: nobody waits for it. The damaged files are only read.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

from spoold.clock import Clock
from spoold.errors import SpoolFullError, SpoolMissingError, SpoolUnreadableError
from spoold.spool.appending import Append, insert
from spoold.spool.facts import Facts, FoundAside
from spoold.spool.journal import DATABASE_NAME
from spoold.spool.lanes import close_lane, open_lane
from spoold.spool.lock import find_owner
from spoold.spool.lookup import find_seq
from spoold.spool.quarantine import Quarantine
from spoold.spool.remains import Found, Piece, Remains, Wanted
from spoold.spool.rows import LaneRow
from spoold.spool.salvaged import Salvage
from spoold.spool.statements import SQL
from spoold.spool.trail import AsideChange
from spoold.spool.transaction import Transaction

#: The outcome of a ledger row that stands for dead letters brought over.
SALVAGED = "salvaged"
#: In one commit, about 5 ms of the writer.
_EVENTS = 300
_BYTES = 1 << 20
#: Looked at in one step.
_LOOK_PAGES = 256
#: Between two steps, so that appends have their turn.
_PAUSE_SECONDS = 0.005
#: Until there may be room again.
_FULL_SECONDS = 5.0
#: So many are told, of what may be any number.
_MAX_HOLES = 100


class Spool(Protocol):
    """Into which it is brought over."""

    def salvages(self) -> list[Salvage]:
        """All that were ever begun, the oldest first."""
        ...

    def restore(self, work: Callable[[Transaction], Salvage], size: int) -> Salvage:
        """Carry out a step in the next commit.

        Raises:
            SpoolFullError: There is no room for ``size`` bytes.
        """
        ...


class Report(Protocol):
    """Who is told."""

    def done(self, salvage: Salvage) -> None:
        """One is over."""
        ...

    def unreadable(self, salvage: Salvage, reason: str) -> None:
        """Its files can't be read now; the next start tries again."""
        ...


class Portion(NamedTuple):
    """What is brought over in one commit.

    Attributes:
        end: Where the next one begins.
        size: Bytes of the records.
    """

    pieces: list[Piece]
    end: int
    size: int


def take_portion(remains: Remains, position: int) -> Portion:
    """Some pages' worth from ``position`` on."""
    pieces: list[Piece] = []
    events = size = 0
    while position < remains.count and events < _EVENTS and size < _BYTES:
        piece = remains.piece(position)
        pieces.append(piece)
        position += 1
        events += len(piece.events) + len(piece.dead)
        size += sum(len(event.record) for event, _ in piece.events) + sum(len(row.record) for row in piece.dead)
    return Portion(pieces, position, size)


class Salvager:
    """Carries out what is begun and not over. ``step`` belongs to one thread."""

    def __init__(self, spool: Spool, directory: Path, clock: Clock, report: Report) -> None:
        """Prepare the steps.

        Args:
            directory: The spool's, below which the sources are.
        """
        self._spool = spool
        self._directory = directory
        self._clock = clock
        self._report = report
        self._salvage: Salvage | None = None
        self._remains: Remains | None = None
        self._given_up: set[str] = set()

    def step(self, now: float) -> float | None:
        """Go on a little; returns seconds until the next step, None when nothing is left to do.

        Raises:
            SpoolError: This spool failed, or is being closed.
        """
        del now
        salvage, remains = self._salvage, self._remains
        try:
            if salvage is None or remains is None:
                return self._begin()
            if not remains.is_known and not remains.look(_LOOK_PAGES):
                return _PAUSE_SECONDS
            self._salvage = salvage = self._restore(salvage, remains)
        except SpoolFullError:
            return _FULL_SECONDS
        except OSError as exc:
            self._give_up(exc)
            return _PAUSE_SECONDS
        if not salvage.is_running:
            self.close()
            self._report.done(salvage)
        return _PAUSE_SECONDS

    def _restore(self, salvage: Salvage, remains: Remains) -> Salvage:
        portion = take_portion(remains, salvage.position)
        now_ms = self._clock.wall_ms()
        return self._spool.restore(lambda tx: restore(tx, salvage, remains, portion, now_ms), portion.size)

    def close(self) -> None:
        """Close the files of the one that is under way. Idempotent."""
        if self._remains is not None:
            self._remains.close()
        self._salvage = self._remains = None

    def _begin(self) -> float | None:
        waiting = (one for one in self._spool.salvages() if one.is_running and one.source not in self._given_up)
        self._salvage = next(waiting, None)
        if self._salvage is None:
            return None
        self._remains = Remains(self._directory / self._salvage.source)
        return 0.0

    def _give_up(self, error: OSError) -> None:
        if self._salvage is not None:
            self._given_up.add(self._salvage.source)
            self._report.unreadable(self._salvage, error.strerror or str(error))
        self.close()


def describe_source(folder: Path, directory: Path, now_ms: int) -> Salvage:
    """What an operator wants salvaged into the spool in ``directory``.

    Raises:
        SpoolMissingError: There is no spool in ``folder``.
        SpoolUnreadableError: It is in use, or its files can't be read.
    """
    try:
        owner = find_owner(folder)
        remains = Remains(folder)
        remains.close()
    except OSError as exc:
        raise SpoolUnreadableError(
            f"{exc.filename or folder} can't be read by user id {os.geteuid()}: {exc.strerror}; "
            "copy the folder to where it can"
        ) from exc
    if remains.bytes is None:
        raise SpoolMissingError(f"there is no spool in {folder}: {DATABASE_NAME} is missing")
    if owner is not None:
        raise SpoolUnreadableError(f"the spool in {folder} is in use by {owner}: only one at rest can be salvaged")
    source = str(folder.relative_to(directory) if folder.is_relative_to(directory) else folder)
    return Salvage(source, "named by an operator", now_ms, remains.bytes)


def begin_salvage(tx: Transaction, salvage: Salvage) -> Salvage:
    """Note that one is to be carried out; one that was begun before stays as it is."""
    known = (Salvage(*row) for row in tx.connection.execute(SQL["load_salvages"]))
    return next((one for one in known if one.source == salvage.source), None) or _save(tx, salvage)


def take_over(tx: Transaction, fresh: Sequence[Quarantine], directory: Path, facts: Facts) -> None:
    """Begin a new spool after those in quarantine.

    Args:
        fresh: Those that this spool does not know, the oldest first.
        facts: Of the newest. How far it had come with the older ones is not begun again; its lanes are opened as
            closed ones, so that an operator's word outlives the damage.
    """
    before = {one.source: one for values in facts.salvages if (one := _read_salvage(values)) is not None}
    for moved in fresh:
        source = str(moved.folder.relative_to(directory))
        begin_salvage(tx, before.get(source) or Salvage(source, moved.reason, moved.found_at_ms, moved.bytes))
    _carry_lanes(tx, facts)


def restore(tx: Transaction, salvage: Salvage, remains: Remains, portion: Portion, now_ms: int) -> Salvage:
    """Bring over the next pieces, and note that they are done."""
    if salvage.position == 0:
        _carry_lanes(tx, remains.facts)
    counted = _Counted()
    for wanted, group in groupby((pair for piece in portion.pieces for pair in piece.events), key=lambda pair: pair[1]):
        names = [lane.name for lane in tx.lanes.values() if _is_wanted(lane, wanted, remains.facts)]
        counted = counted.plus(_append(tx, [event for event, _ in group], names))
    dead = _bury(tx, [row for piece in portion.pieces for row in piece.dead], now_ms)
    salvage = salvage._replace(
        position=portion.end,
        pieces=remains.count,
        recovered=salvage.recovered + counted.recovered,
        known=salvage.known + counted.known,
        settled=salvage.settled + counted.settled,
        dead=salvage.dead + dead,
        damaged=salvage.damaged + sum(piece.damaged for piece in portion.pieces),
    )
    if portion.end == remains.count:
        lost = remains.lost_of(salvage.recovered + salvage.known + salvage.settled)
        holes = ",".join(f"{first}-{last}" for first, last in remains.holes()[:_MAX_HOLES])
        salvage = salvage._replace(state="done", lost=lost, holes=holes, finished_at_ms=now_ms)
    return _save(tx, salvage)


class _Counted(NamedTuple):
    recovered: int = 0
    known: int = 0
    settled: int = 0

    def plus(self, other: "_Counted") -> "_Counted":
        return _Counted(*map(sum, zip(self, other, strict=True)))


def _is_wanted(lane: LaneRow, wanted: Wanted, facts: Facts) -> bool:
    return lane.name in wanted.lanes or (wanted.unknown and lane.name not in facts.lanes and not lane.is_closed)


def _append(tx: Transaction, events: list[Found], names: list[str]) -> _Counted:
    """Append events for the lanes named, and for no other."""
    if not names:
        return _Counted(settled=len(events))
    unique = {event.event_id: event for event in events}
    fresh = [one for one in unique.values() if find_seq(tx.connection, one.event_id, tx.spool.id_tag) is None]
    if fresh:
        with_lanes = list(tx.lanes.values())
        # A lane that is closed accrues nothing: that is how those that were done with these pass over them.
        away = [lane.name for lane in with_lanes if not lane.is_closed and lane.name not in names]
        back = [lane for lane in with_lanes if lane.is_closed and lane.name in names]
        for name in away:
            close_lane(tx, name)
        for lane in back:
            open_lane(tx, lane.name, lane.kind, "latest")
        insert(tx, [_as_append(tx, fresh)])
        for lane in back:
            close_lane(tx, lane.name)
        for name in away:
            open_lane(tx, name, tx.lanes[name].kind, "latest")
    return _Counted(recovered=len(fresh), known=len(events) - len(fresh))


def _as_append(tx: Transaction, events: list[Found]) -> Append:
    # The hybrid time of the last event: an append that waits for this commit may have the next one already. All ids go
    # into the index, as a caller's do: the time in them is not that of their place here.
    count = len(events)
    return Append(
        records=[event.record for event in events],
        event_ids=[event.event_id for event in events],
        stamps_ms=[tx.spool.last_id_ms] * count,
        caller_chose=[True] * count,
        has_caller_ids=True,
        size=sum(len(event.record) for event in events),
        future=Future(),
    )


def _bury(tx: Transaction, rows: list[FoundAside], now_ms: int) -> int:
    """Bring over dead letters, each under the seq that it had: behind every cursor, and never given again."""
    buried: dict[str, int] = {}
    for row in rows:
        lane = tx.lanes.get(row.lane)
        is_there = tx.connection.execute(SQL["aside"], (row.lane, row.seq)).fetchone() is not None
        if lane is None or is_there or row.seq > lane.cursor:
            continue
        tx.connection.execute(SQL["restore_dead"], tuple(row))
        tx.spool = tx.spool._replace(dead_bytes=tx.spool.dead_bytes + len(row.record))
        tx.aside.append(AsideChange(row.lane, row.seq, dead=1, deferred=0, dead_bytes=len(row.record)))
        buried[row.lane] = buried.get(row.lane, 0) + 1
    for name, count in buried.items():
        lane = tx.lanes[name]
        tx.connection.execute(
            SQL["add_ledger"],
            (tx.trail.next_ledger_id(), name, lane.cursor, lane.cursor, now_ms, 0, None, SALVAGED, 0, count, 0, 0),
        )
        tx.save_lane(replace(lane, accrued=lane.accrued + count, dead=lane.dead + count))
    return sum(buried.values())


def _carry_lanes(tx: Transaction, facts: Facts) -> None:
    """Make the lanes that there were, with what they had done by then; nothing is pending in them yet."""
    for old in _missing(tx, facts):
        tx.save_lane(
            replace(
                old,
                is_closed=1,
                opened_seq=tx.spool.last_seq,
                cursor=tx.spool.last_seq,
                closed_seq=tx.spool.last_seq,
                opened_at=tx.spool.accepted,
                accrued=old.delivered + old.filtered + old.purged,
                base_delivered=old.delivered,
                base_filtered=old.filtered,
                base_purged=old.purged,
                dead=0,
                base_dead=0,
                deferred=0,
                last_settlement=b"",
                batches="",
                gaps=(),
            )
        )


def _missing(tx: Transaction, facts: Facts) -> Iterator[LaneRow]:
    return (lane for name, lane in facts.lanes.items() if name not in tx.lanes)


def _save(tx: Transaction, salvage: Salvage) -> Salvage:
    tx.connection.execute(SQL["save_salvage"], salvage)
    return salvage


def _read_salvage(values: tuple[object, ...]) -> Salvage | None:
    """A row as an older spool had it; None where it can't be one."""
    if len(values) != len(Salvage._fields):
        return None
    salvage = Salvage(*values)  # type: ignore[arg-type]
    is_sound = isinstance(salvage.source, str) and salvage.state in ("running", "done")
    numbers = (salvage.found_at_ms, salvage.bytes, *salvage[5:13])
    return salvage if is_sound and all(isinstance(number, int) for number in numbers) else None
