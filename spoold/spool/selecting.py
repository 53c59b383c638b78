"""What a selection holds: where to look, and which events of a stretch are meant. Reads; changes nothing."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import orjson

from spoold.record import DamagedEvent, Event, format_uuid, read_record
from spoold.spool.lookup import find_first_from, find_seq
from spoold.spool.rows import LaneRow, ReplayRow, State, read_seqs
from spoold.spool.statements import SQL
from spoold.spool.values import DeadEvent, Matches, Replay, ReplayPage, Selection

MAX_PAGE_EVENTS = 1000
_NO_BOUND = 2**63


class Scope(NamedTuple):
    """Where a selection's events can be.

    Attributes:
        start: Behind this seq.
        upto: Up to this one.
        lane_cursor: What the lane has pending behind it is left to the lane.
        seqs: Only there; None: anywhere between.
    """

    start: int
    upto: int
    lane_cursor: int
    seqs: tuple[int, ...] | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nowhere to look."""
        return self.upto <= self.start


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was found in a part of a scope.

    Attributes:
        events: In the journal or, where only dead letters are wanted, among those.
        dead: Seqs of those that are dead letters of the lane.
        after: Up to where was looked.
        is_end: Nothing is left.
    """

    events: list[Event | DamagedEvent]
    dead: frozenset[int]
    after: int
    is_end: bool


def find_scope(connection: sqlite3.Connection, selection: Selection, lane: LaneRow, state: State) -> Scope:
    """Where to look for what ``selection`` holds now; costs some look-ups, whatever the backlog (I8)."""
    if selection.is_dead:
        first, last = connection.execute(SQL["dead_bounds"], (lane.name, lane.name)).fetchone()
        return Scope(0, 0, lane.cursor, None) if first is None else Scope(first - 1, last, lane.cursor, None)
    low, high = connection.execute(SQL["seq_bounds"]).fetchone()
    if low is None:
        return Scope(0, 0, lane.cursor, None)
    # The journal is in the order of the hybrid clock, which is never behind the wall clock.
    start = low - 1 if selection.since_ms is None else find_first_from(connection, selection.since_ms) - 1
    upto = high if selection.until_ms is None else find_first_from(connection, selection.until_ms) - 1
    if not selection.event_ids:
        return Scope(start, max(start, upto), lane.cursor, None)
    found = (find_seq(connection, event_id, state.spool.id_tag) for event_id in selection.event_ids)
    seqs = tuple(sorted({seq for seq in found if seq is not None and start < seq <= upto}))
    return Scope(seqs[0] - 1, seqs[-1], lane.cursor, seqs) if seqs else Scope(start, start, lane.cursor, None)


@dataclass(frozen=True, slots=True)
class Search:
    """A selection, and where to look for it."""

    connection: sqlite3.Connection
    selection: Selection
    scope: Scope
    lane: LaneRow

    def look(self, after: int, max_events: int) -> Stretch:
        """Look through the next ``max_events`` behind ``after``."""
        limit = min(max_events, MAX_PAGE_EVENTS)
        return self._look_at_dead(after, limit) if self.selection.is_dead else self._look_at_journal(after, limit)

    def _look_at_dead(self, after: int, limit: int) -> Stretch:
        is_meant = _test(self.selection)
        values = (self.lane.name, after, self.scope.upto, limit)
        events = [read_record(row[0], row[1]) for row in self.connection.execute(SQL["dead_page"], values).fetchall()]
        wanted = [event for event in events if is_meant(event)]
        upto = events[-1].seq if len(events) == limit else self.scope.upto
        return Stretch(wanted, frozenset(event.seq for event in wanted), upto, upto >= self.scope.upto)

    def _look_at_journal(self, after: int, limit: int) -> Stretch:
        is_meant = _test(self.selection)
        rows, upto = self._read(after, limit)
        events = [
            (read_record(seq, data), kind) for seq, data, kind in rows if kind != "deferred" and not self._is_ahead(seq)
        ]
        wanted = [(event, kind) for event, kind in events if is_meant(event)]
        dead = frozenset(event.seq for event, kind in wanted if kind is not None)
        return Stretch([event for event, _ in wanted], dead, upto, upto >= self.scope.upto)

    def _read(self, after: int, limit: int) -> tuple[list[tuple[int, bytes, str | None]], int]:
        """The next events of the journal, each with how it stands aside in the lane, and up to where that is."""
        scope, execute = self.scope, self.connection.execute
        if scope.seqs is None:
            rows = execute(SQL["records_after"], (self.lane.name, after, scope.upto, limit)).fetchall()
            return rows, rows[-1][0] if len(rows) == limit else scope.upto
        left = [seq for seq in scope.seqs if seq > after]
        found = (execute(SQL["record_in_lane"], (self.lane.name, seq)).fetchone() for seq in left[:limit])
        # One that was forgotten meanwhile is not there.
        return [row for row in found if row is not None], left[limit - 1] if len(left) > limit else scope.upto

    def _is_ahead(self, seq: int) -> bool:
        """Whether the lane had the event ahead when the replay began: it sends that by itself."""
        return seq > self.scope.lane_cursor and not self.lane.is_missed(seq)

    def matches(self, after: int | None, max_events: int) -> Matches:
        """The seam's ``matches``."""
        start, upto = self.scope.start, self.scope.upto
        stretch = self.look(start if after is None else after, max_events)
        return Matches(stretch.events, stretch.after, _progress(start, stretch.after, upto), stretch.is_end)


def find_replay_page(connection: sqlite3.Connection, replay: ReplayRow, lane: LaneRow, max_events: int) -> ReplayPage:
    """The seam's ``read_replay``."""
    seqs = read_seqs(replay.seqs) or None
    scope = Scope(replay.start, replay.upto, replay.lane_cursor, seqs)
    search = Search(connection, read_selection(replay.selection), scope, lane)
    stretch = search.look(replay.cursor, max_events)
    fresh = [event for event in stretch.events if event.seq not in stretch.dead]
    return ReplayPage(fresh, sorted(stretch.dead), stretch.after, stretch.is_end)


def dead_page(connection: sqlite3.Connection, lane: str, after: int, max_events: int) -> list[DeadEvent]:
    """The seam's ``dead``."""
    limit = min(max_events, MAX_PAGE_EVENTS)
    rows = connection.execute(SQL["dead_page"], (lane, after, 2**63 - 1, limit)).fetchall()
    return [DeadEvent(lane, read_record(seq, record), *rest) for seq, record, *rest in rows]


def dead_with_id(connection: sqlite3.Connection, event_id: bytes) -> list[DeadEvent]:
    """The seam's ``find_dead``."""
    rows = connection.execute(SQL["dead_with_id"], (event_id,)).fetchall()
    return [DeadEvent(lane, read_record(seq, record), *rest) for lane, seq, record, *rest in rows]


def view_replay(row: ReplayRow) -> Replay:
    """A row as the seam shows it."""
    return Replay(
        id=row.id,
        selection=read_selection(row.selection),
        state=row.state,
        progress=1.0 if row.state == "done" else _progress(row.start, row.cursor, row.upto),
        sent=row.sent,
        failed=row.failed,
        revived=row.revived,
        created_at_ms=row.created_at_ms,
        finished_at_ms=row.finished_at_ms,
    )


def selection_text(selection: Selection) -> str:
    """A selection as it is stored."""
    return orjson.dumps(
        {
            "lane": selection.lane,
            "is_dead": selection.is_dead,
            "since_ms": selection.since_ms,
            "until_ms": selection.until_ms,
            "event_ids": [format_uuid(event_id) for event_id in selection.event_ids],
            "event_names": list(selection.event_names),
            "user_id": selection.user_id,
        }
    ).decode()


def read_selection(text: str) -> Selection:
    """The other way round."""
    fields = orjson.loads(text)
    ids = tuple(UUID(event_id).bytes for event_id in fields["event_ids"])
    return Selection(**{**fields, "event_ids": ids, "event_names": tuple(fields["event_names"])})


def _test(selection: Selection) -> Callable[[Event | DamagedEvent], bool]:
    names: Sequence[str] = selection.event_names
    ids = frozenset(format_uuid(event_id) for event_id in selection.event_ids)
    since_ms = -_NO_BOUND if selection.since_ms is None else selection.since_ms
    until_ms = _NO_BOUND if selection.until_ms is None else selection.until_ms
    wants_all = selection == Selection(selection.lane, is_dead=selection.is_dead)

    def is_meant(event: Event | DamagedEvent) -> bool:
        if isinstance(event, DamagedEvent):
            # Nobody knows whose it was.
            return wants_all
        return (
            (not names or event.event_name in names)
            and (not ids or event.event_id in ids)
            and (not selection.user_id or event.user_id == selection.user_id)
            and since_ms <= event.received_at_ms < until_ms
        )

    return is_meant


def _progress(start: int, at: int, upto: int) -> float:
    return 1.0 if upto <= start else min(1.0, max(0.0, (at - start) / (upto - start)))
