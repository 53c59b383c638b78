"""The spool's state as values: one spool row and one row a lane, read once and kept in step with the commits."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, TypeVar

from spoold.errors import SpoolCorruptError, UnknownLaneError
from spoold.spool.statements import SQL
from spoold.spool.values import LaneState, RetryState

_T = TypeVar("_T")

#: The state of a replay that is not over.
RUNNING = "running"


class SpoolRow(NamedTuple):
    """The table ``spool``, the values for ``save_spool``: see the migration for each column.

    A tuple, because one is made for each commit.
    """

    accepted: int
    duplicates: int
    trimmed: int
    last_seq: int
    last_id_ms: int
    id_tag: bytes
    damaged: int
    dead_bytes: int


class Gap(NamedTuple):
    """What was accepted while a lane was closed: seqs in (after, upto], ``events`` of them.

    Kept until those are forgotten, so that their story stays true. ``opened_at`` is how many events the spool had
    ever accepted when the lane reopened.
    """

    after: int
    upto: int
    events: int
    opened_at: int


class ReplayRow(NamedTuple):
    """The table ``replay``, the values for ``save_replay``: see the migration for each column."""

    id: int
    lane: str
    is_dead: int
    selection: str
    seqs: str
    start: int
    upto: int
    lane_cursor: int
    cursor: int
    state: str
    sent: int
    failed: int
    revived: int
    created_at_ms: int
    finished_at_ms: int | None


@dataclass(frozen=True, slots=True)
class LaneRow:
    """The table ``lane``, column by column, and the lane's gaps in order."""

    name: str
    kind: str
    is_closed: int
    epoch: int
    opened_seq: int
    cursor: int
    opened_at: int
    closed_seq: int
    accrued: int
    delivered: int = 0
    dead: int = 0
    filtered: int = 0
    purged: int = 0
    failures: int = 0
    is_stopped: int = 0
    wait_ms: int = 0
    not_before_ms: int = 0
    last_error: str = ""
    last_error_at_ms: int = 0
    last_settlement: bytes = b""
    base_delivered: int = 0
    base_dead: int = 0
    base_filtered: int = 0
    is_paused: int = 0
    accepts_dead: int = 0
    flushes: int = 0
    deferred: int = 0
    base_purged: int = 0
    batches: str = ""
    gaps: tuple[Gap, ...] = field(default=())

    def columns(self) -> tuple[object, ...]:
        """The values for ``save_lane``."""
        return tuple(getattr(self, name) for name in _LANE_COLUMNS)

    def accepted(self, spool: SpoolRow) -> int:
        """Events appended while this lane was open."""
        return self.accrued + (0 if self.is_closed else spool.accepted - self.opened_at)

    def pending(self, spool: SpoolRow) -> int:
        """Accepted for this lane and not settled."""
        return self.accepted(spool) - self.delivered - self.dead - self.filtered - self.purged

    def ahead(self, spool: SpoolRow) -> int:
        """Of the pending ones: those ahead of the cursor, which are all but the deferred."""
        return self.pending(spool) - self.deferred

    def is_missed(self, seq: int) -> bool:
        """Whether the event was accepted while the lane was closed."""
        return any(gap.after < seq <= gap.upto for gap in self.gaps)

    def pending_spans(self, spool: SpoolRow) -> Iterator[tuple[int, int]]:
        """Which events are ahead, the newest first: the n-th accepted ever, n in (after, upto]."""
        left = self.ahead(spool)
        end = self.opened_at if self.is_closed else spool.accepted
        for gap in reversed(self.gaps):
            span = min(left, end - gap.opened_at)
            yield end - span, end
            left -= span
            end = gap.opened_at - gap.events
        yield end - left, end

    def seqs_ahead(self, spool: SpoolRow) -> Iterator[tuple[int, int]]:
        """Where the events ahead stand, in order: seqs in (after, upto]."""
        if self.ahead(spool):
            yield from self.way_ahead(spool)

    def way_ahead(self, spool: SpoolRow) -> Iterator[tuple[int, int]]:
        """Where the lane has still to go, whether something is there or not: seqs in (after, upto]."""
        after = self.cursor
        for gap in self.gaps:
            if gap.after > after:
                yield after, gap.after
            after = max(after, gap.upto)
        yield after, self.closed_seq if self.is_closed else spool.last_seq

    @property
    def front(self) -> int:
        """The cursor, moved over what the lane missed: its next event stands behind."""
        return self.front_of(self.cursor)

    def front_of(self, seq: int) -> int:
        """A position on the lane's way, moved over what it missed."""
        for gap in self.gaps:
            if gap.after <= seq < gap.upto:
                seq = gap.upto
        return seq

    def state(self, spool: SpoolRow) -> LaneState:
        """The view that the seam shows."""
        return LaneState(
            name=self.name,
            kind=self.kind,
            cursor=self.cursor,
            epoch=self.epoch,
            is_closed=bool(self.is_closed),
            is_paused=bool(self.is_paused),
            accepts_dead=bool(self.accepts_dead),
            flushes=self.flushes,
            accepted=self.accepted(spool),
            delivered=self.delivered,
            dead=self.dead,
            filtered=self.filtered,
            purged=self.purged,
            deferred=self.deferred,
            missed=sum(gap.events for gap in self.gaps if gap.upto > self.cursor),
            retry=RetryState(
                failures=self.failures,
                is_stopped=bool(self.is_stopped),
                wait_ms=self.wait_ms,
                not_before_ms=self.not_before_ms,
                last_error=self.last_error,
                last_error_at_ms=self.last_error_at_ms,
            ),
            batches=read_seqs(self.batches),
        )


_LANE_COLUMNS = tuple(column.name for column in fields(LaneRow) if column.name != "gaps")


@dataclass(frozen=True, slots=True)
class State:
    """Everything but the events: what the last commit made true."""

    spool: SpoolRow
    lanes: dict[str, LaneRow]
    replays: dict[int, ReplayRow]

    def lane_states(self) -> list[LaneState]:
        """The lanes as the seam shows them, by name."""
        return [self.lanes[name].state(self.spool) for name in sorted(self.lanes)]

    def settled_seq(self) -> int:
        """Every lane's cursor is past the events up to here."""
        fronts = [lane.front for lane in self.lanes.values() if lane.ahead(self.spool)]
        return min(fronts, default=self.spool.last_seq)

    def ahead(self) -> int:
        """Events that some lane's cursor has not passed, each counted once."""
        total = reached = 0
        for after, upto in sorted(span for lane in self.lanes.values() for span in lane.pending_spans(self.spool)):
            total += max(0, upto - max(after, reached))
            reached = max(reached, upto)
        return total

    def passed_seqs(self) -> Iterator[tuple[int, int]]:
        """Where the events stand that no lane has ahead, in order: seqs in (after, upto]."""
        reached = 0
        for after, upto in sorted(span for lane in self.lanes.values() for span in lane.seqs_ahead(self.spool)):
            yield reached, after
            reached = max(reached, upto)
        yield reached, self.spool.last_seq

    def retained(self) -> int:
        """Events in the journal that every lane's cursor has passed."""
        return self.spool.accepted - self.spool.trimmed - self.ahead()


def find_row(rows: Mapping[str, _T], name: str) -> _T:
    """What is kept under a lane's name.

    Raises:
        UnknownLaneError: There is none.
    """
    lane = rows.get(name)
    if lane is None:
        raise UnknownLaneError(f"no lane is named {name!r}; there are: {', '.join(sorted(rows)) or 'none'}")
    return lane


def load_state(connection: sqlite3.Connection) -> State:
    """Read the whole state: a few rows, whatever the backlog (I8).

    Raises:
        SpoolCorruptError: A row holds what its table does not take: only damage puts it there.
    """
    spool = SpoolRow(*sound("spool", SpoolRow, connection.execute(SQL["load_spool"]).fetchone()))
    gaps: dict[str, list[Gap]] = {}
    for lane, *gap in connection.execute(SQL["load_gaps"]):
        gaps.setdefault(lane, []).append(Gap(*sound("lane_gap", Gap, gap)))
    rows = [sound("lane", LaneRow, row) for row in connection.execute(SQL["load_lanes"]).fetchall()]
    lanes = {row[0]: replace(LaneRow(*row), gaps=tuple(gaps.get(row[0], ()))) for row in rows}
    replays = (ReplayRow(*sound("replay", ReplayRow, row)) for row in connection.execute(SQL["load_replays"]))
    return State(spool, lanes, {replay.id: replay for replay in replays})


def sound(table: str, row: type, values: Sequence[Any]) -> Sequence[Any]:
    """The values, if they are of the kinds that ``row`` has. Raises SpoolCorruptError as ``load_state`` does."""
    kinds = row.__annotations__.values()
    if not all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=False)):
        raise SpoolCorruptError(f"the table {table} holds what it can't")
    return values


def pending_events(connection: sqlite3.Connection, state: State) -> int:
    """Events that some lane has not settled, each counted once."""
    if not any(lane.deferred for lane in state.lanes.values()):
        return state.ahead()
    # What stands aside in one lane and is ahead in another is counted already.
    aside = (connection.execute(SQL["count_deferred"], span).fetchone()[0] for span in state.passed_seqs())
    return state.ahead() + sum(map(int, aside))


def read_seqs(text: str) -> tuple[int, ...]:
    """Seqs as they are stored: with commas between."""
    return tuple(map(int, text.split(","))) if text else ()


def write_seqs(seqs: Iterable[int]) -> str:
    """The other way round."""
    return ",".join(map(str, seqs))
