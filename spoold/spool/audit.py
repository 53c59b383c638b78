"""Recounting the terms of I2 from what is on the disk, in pages that may lie at different commits.

Each page is read in one snapshot, beside the counters of the same commit. Between two pages events move, also in what
was counted already; why the sums are exact all the same:

- *Ledger*, by id: a row is never changed, a new one has a higher id, and trimming takes a lane's oldest rows and adds
  them to its base counts. While the last row that was counted of a lane is there, what its base gained was counted
  before; when that row is gone, nothing of what was counted is left.
- *Set-aside*, by lane and seq: the trail says which events moved meanwhile. Those that had been passed are corrected.
- *Journal*, by seq: counted is the *rank*, how many events were ever accepted up to a seq. Neither appends nor trims
  change it, so what was true of the first page's commit can be held against ranks that are found later.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, TypeAlias

from spoold.spool.balance import Audit, AuditedLane, AuditPosition, AuditStep, Imbalance
from spoold.spool.rows import LaneRow, State
from spoold.spool.statements import SQL
from spoold.spool.trail import AsideChange

#: No read transaction outlives a page.
_MAX_ROWS = 1000
_TERMS = ("delivered", "dead", "filtered", "purged")

Terms: TypeAlias = tuple[int, int, int, int]
_NOTHING: Terms = (0, 0, 0, 0)


class Moment(NamedTuple):
    """One commit, as one page sees it.

    Attributes:
        state: The counters that it made true.
        trail_count: Changes to ``set_aside`` up to it.
        changes: Those since the last page, or None where they are not known.
    """

    state: State
    trail_count: int
    changes: tuple[AsideChange, ...] | None


class _Count(Protocol):
    """A table being counted. A value: ``step`` returns how it stands after one more page."""

    @property
    def seen(self) -> int:
        """Events counted so far."""
        ...

    def step(self, connection: sqlite3.Connection, moment: Moment, rows: int) -> "_Count":
        """Count at most ``rows`` more."""
        ...

    def imbalances(self, state: State) -> list[Imbalance] | None:
        """None as long as rows are left; ``state`` is that of the last page."""
        ...


class _CountedLane(NamedTuple):
    """Of one lane's ledger: the last id that was counted, what the rows say that are there, and the base with them."""

    last_id: int
    counted: Terms
    base: Terms


@dataclass(frozen=True, slots=True)
class _LedgerCount:
    after: int = 0
    is_done: bool = False
    lanes: Mapping[str, _CountedLane] = field(default_factory=dict)

    def step(self, connection: sqlite3.Connection, moment: Moment, rows: int) -> "_LedgerCount":
        lanes = {
            name: _go_on(connection, self.lanes.get(name), _base(lane)) for name, lane in moment.state.lanes.items()
        }
        page = connection.execute(SQL["audit_ledger"], (self.after, rows)).fetchall()
        for name, last_id, _, *terms in page:
            # A lane that is gone has no counter to hold its rows against.
            if name in lanes:
                lane = lanes[name]
                lanes[name] = lane._replace(last_id=last_id, counted=_plus(lane.counted, terms))
        after = page[-1][1] if page else self.after
        return _LedgerCount(after, sum(row[2] for row in page) < rows, lanes)

    @property
    def seen(self) -> int:
        # A row of the ledger stands for any number of events.
        return 0

    def imbalances(self, state: State) -> list[Imbalance] | None:
        if not self.is_done:
            return None
        found = []
        for name, lane in self.lanes.items():
            counters = [getattr(state.lanes[name], term) for term in _TERMS]
            for term, counter, counted in zip(_TERMS, counters, _plus(lane.counted, lane.base), strict=True):
                found += _compare(name, term, counter, counted, "ledger")
        return found


@dataclass(frozen=True, slots=True)
class _AsideCount:
    after: tuple[str, int] = ("", -1)
    seen: int = 0
    is_done: bool = False
    trail_count: int = -1
    #: (lane, kind) → events.
    counted: Mapping[tuple[str, str], int] = field(default_factory=dict)
    dead_bytes: int = 0

    def step(self, connection: sqlite3.Connection, moment: Moment, rows: int) -> "_AsideCount":
        # Where nobody knows what has moved meanwhile, it begins again.
        was = _AsideCount() if moment.changes is None else self
        counted, dead_bytes, after, seen = dict(was.counted), was.dead_bytes, was.after, 0
        for change in moment.changes or ():
            if (change.lane, change.seq) <= after:
                dead_bytes += change.dead_bytes
                for kind, added in (("dead", change.dead), ("deferred", change.deferred)):
                    counted[change.lane, kind] = counted.get((change.lane, kind), 0) + added
        for lane, kind, count, seq, size in connection.execute(SQL["audit_aside"], (*after, rows)).fetchall():
            counted[lane, kind] = counted.get((lane, kind), 0) + count
            dead_bytes += size if kind == "dead" else 0
            after = max(after, (lane, seq))
            seen += count
        return _AsideCount(after, was.seen + seen, seen < rows, moment.trail_count, counted, dead_bytes)

    def imbalances(self, state: State) -> list[Imbalance] | None:
        if not self.is_done:
            return None
        found = []
        for name, lane in state.lanes.items():
            found += _compare(name, "dead", lane.dead, self.counted.get((name, "dead"), 0), "set-aside")
            found += _compare(name, "deferred", lane.deferred, self.counted.get((name, "deferred"), 0), "set-aside")
        return found + _compare("", "dead_bytes", state.spool.dead_bytes, self.dead_bytes, "set-aside")


@dataclass(frozen=True, slots=True)
class _JournalCount:
    """Counts ranks.

    Attributes:
        begun: The state at the first page, against which the ranks are held.
        rank: Events ever accepted up to ``after``.
        ends: The seqs whose ranks are still to be found, in order.
        ranks: Those that were found.
    """

    begun: State | None = None
    after: int = 0
    rank: int = 0
    seen: int = 0
    ends: tuple[int, ...] = ()
    ranks: Mapping[int, int] = field(default_factory=dict)

    def step(self, connection: sqlite3.Connection, moment: Moment, rows: int) -> "_JournalCount":
        # What was trimmed before it was counted has no rank that could be found.
        is_lost = self.begun is None or moment.state.spool.trimmed > self.rank
        was = _begin_journal(connection, moment.state) if is_lost else self
        after, rank, ends, ranks, left = was.after, was.rank, was.ends, dict(was.ranks), rows
        while ends and left:
            count, last = connection.execute(SQL["audit_journal"], (after, ends[0], left)).fetchone()
            is_reached = count < left
            rank, left = rank + count, left - count
            after = ends[0] if is_reached else last
            if is_reached:
                ranks[ends[0]], ends = rank, ends[1:]
        return replace(was, after=after, rank=rank, seen=was.seen + rows - left, ends=ends, ranks=ranks)

    def imbalances(self, state: State) -> list[Imbalance] | None:
        del state
        if self.begun is None or self.ends:
            return None
        spool, ranks = self.begun.spool, self.ranks
        stored = ranks[spool.last_seq] - spool.trimmed
        found = _compare("", "stored", spool.accepted - spool.trimmed, stored, "journal")
        for name, lane in self.begun.lanes.items():
            counted = sum(ranks[upto] - ranks[after] for after, upto in lane.way_ahead(spool))
            found += _compare(name, "ahead", lane.ahead(spool), counted, "journal")
        return found


_COUNTS: tuple[type[_Count], ...] = (_LedgerCount, _AsideCount, _JournalCount)


@dataclass(frozen=True, slots=True)
class _Position(AuditPosition):
    """Which table is being counted, how far, and what the tables before it said."""

    table: int
    count: _Count
    found: tuple[Imbalance, ...] = ()
    seen: int = 0


def begin_reading(connection: sqlite3.Connection) -> None:
    """From here on the connection sees this moment's commit, until its transaction ends."""
    connection.execute("BEGIN")
    # Only a first look at the data fixes what is seen.
    connection.execute(SQL["seq_bounds"]).fetchone()


def trail_count(position: AuditPosition | None) -> int | None:
    """From where on the next step must know the trail; None when it need not."""
    count = position.count if isinstance(position, _Position) else None
    return count.trail_count if isinstance(count, _AsideCount) and count.trail_count >= 0 else None


def audit_step(
    connection: sqlite3.Connection, moment: Moment, position: AuditPosition | None, max_rows: int
) -> AuditStep:
    """Count one page.

    Args:
        connection: In a read transaction that sees ``moment`` and nothing later.
        position: Where the last step ended; None to begin.
        max_rows: See the seam.
    """
    at = position if isinstance(position, _Position) else _Position(0, _COUNTS[0]())
    count = at.count.step(connection, moment, min(max_rows, _MAX_ROWS))
    found = count.imbalances(moment.state)
    if found is None:
        return AuditStep(replace(at, count=count), _progress(at.seen + count.seen, moment.state), None)
    table, seen, found = at.table + 1, at.seen + count.seen, [*at.found, *found]
    if table == len(_COUNTS):
        return AuditStep(None, 1.0, _conclude(moment.state, found))
    return AuditStep(_Position(table, _COUNTS[table](), tuple(found), seen), _progress(seen, moment.state), None)


def _base(lane: LaneRow) -> Terms:
    return lane.base_delivered, lane.base_dead, lane.base_filtered, lane.base_purged


def _go_on(connection: sqlite3.Connection, was: _CountedLane | None, base: Terms) -> _CountedLane:
    """A lane's ledger as it was counted, less what was trimmed since."""
    if was is None or connection.execute(SQL["has_ledger_row"], (was.last_id,)).fetchone() is None:
        return _CountedLane(0, _NOTHING, base)
    return _CountedLane(was.last_id, _minus(was.counted, _minus(base, was.base)), base)


def _plus(some: Iterable[int], more: Iterable[int]) -> Terms:
    delivered, dead, filtered, purged = map(sum, zip(some, more, strict=True))
    return delivered, dead, filtered, purged


def _minus(some: Terms, less: Terms) -> Terms:
    return _plus(some, [-number for number in less])


def _begin_journal(connection: sqlite3.Connection, state: State) -> _JournalCount:
    first = connection.execute(SQL["seq_bounds"]).fetchone()[0]
    after = state.spool.last_seq if first is None else first - 1
    way = [end for lane in state.lanes.values() for span in lane.way_ahead(state.spool) for end in span]
    ends = sorted({*way, state.spool.last_seq})
    return _JournalCount(
        begun=state,
        after=after,
        rank=state.spool.trimmed,
        ends=tuple(end for end in ends if end > after),
        ranks={end: state.spool.trimmed for end in ends if end <= after},
    )


def _compare(lane: str, term: str, counter: int, counted: int, place: str) -> list[Imbalance]:
    return [] if counter == counted else [Imbalance(lane, term, counter, counted, place)]


def _progress(seen: int, state: State) -> float:
    aside = sum(lane.dead + lane.deferred for lane in state.lanes.values())
    return min(1.0, seen / max(1, aside + state.spool.accepted - state.spool.trimmed))


def _conclude(state: State, found: list[Imbalance]) -> Audit:
    """The counters of one commit, put right by what was found at others: an imbalance does not move."""
    wrong = Counter[tuple[str, str, str]]()
    for one in found:
        wrong[one.lane, one.term, one.place] += one.difference
    lanes = tuple(
        AuditedLane(
            name=name,
            accepted=lane.accepted(state.spool),
            delivered=lane.delivered + wrong[name, "delivered", "ledger"],
            dead=lane.dead + wrong[name, "dead", "set-aside"],
            filtered=lane.filtered + wrong[name, "filtered", "ledger"],
            purged=lane.purged + wrong[name, "purged", "ledger"],
            pending=lane.pending(state.spool) + wrong[name, "deferred", "set-aside"] + wrong[name, "ahead", "journal"],
        )
        for name, lane in sorted(state.lanes.items())
    )
    return Audit(lanes, tuple(found))
