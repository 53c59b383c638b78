"""Reading beside the writer: ``mode=ro`` connections, and no read transaction that outlives a page."""

import sqlite3
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from spoold.errors import SpoolCorruptError, SpooldError, SpoolUnreadableError
from spoold.record import DamagedEvent, Event, read_record
from spoold.spool.audit import Moment, audit_step
from spoold.spool.balance import AuditPosition, AuditStep, TallyPage, TallyPosition
from spoold.spool.lookup import find_seq
from spoold.spool.rows import LaneRow, ReplayRow, State, find_row, pending_events, sound
from spoold.spool.salvaged import Salvage
from spoold.spool.selecting import (
    Scope,
    Search,
    dead_page,
    dead_with_id,
    find_replay_page,
    find_scope,
)
from spoold.spool.statements import SQL
from spoold.spool.store import classify
from spoold.spool.tallying import tally_page
from spoold.spool.values import DeadEvent, Deferred, LaneStory, Matches, Page, ReplayPage, Selection, Story

MAX_PAGE_EVENTS = 1000
_NO_BOUND = 2**63 - 1
_BUSY_SECONDS = 10.0


def connect_reader(file: Path) -> sqlite3.Connection:
    """A connection that can't write, not even a checkpoint."""
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=_BUSY_SECONDS,
        check_same_thread=False,
        isolation_level=None,
    )


def _do_nothing(_error: SpoolCorruptError) -> None:
    pass


class Reader:
    """Reads the journal. Safe from any thread: each call has a connection to itself, kept for the next one."""

    def __init__(self, file: Path, on_damage: Callable[[SpoolCorruptError], None] = _do_nothing) -> None:
        """Prepare; connections are opened as they are needed.

        Args:
            on_damage: Called when SQLite calls the file damaged, before that is raised.
        """
        self._file = file
        self._on_damage = on_damage
        self._idle: deque[sqlite3.Connection] = deque()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = connect_reader(self._file)
            yield connection
        except (sqlite3.Error, UnicodeDecodeError, SpoolCorruptError) as exc:
            # Nothing of SQLite passes the seam; and damage must be known as such.
            error = exc if isinstance(exc, SpoolCorruptError) else _classify(exc)
            if isinstance(error, SpoolCorruptError):
                self._on_damage(error)
            raise error from exc
        finally:
            if connection is not None:
                self._idle.append(connection)

    def page(self, lane: LaneRow, after: int, *, max_events: int, max_bytes: int) -> Page:
        """A stretch of the lane's way; see the seam."""
        start, bound, next_start = _stretch(lane, after)
        limit = min(max_events, MAX_PAGE_EVENTS)
        with self._connection() as connection:
            seqs, sizes = map(_numbers, connection.execute(SQL["page_sizes"], (start, bound, limit)).fetchone())
            fitting = max(1, bisect_right(list(accumulate(sizes)), max_bytes))
            is_last = len(seqs) <= fitting and len(seqs) < limit
            seqs = seqs[:fitting]
            events: list[Event | DamagedEvent] = []
            if seqs:
                texts = (connection.execute(SQL["page_records"], (start, seqs[-1])).fetchone()[0] or "").split(",")
                if len(texts) != len(seqs):
                    # No checksum covers a seq: one that is damaged is there for the one question and not for the other.
                    raise SpoolCorruptError(f"the seqs behind {start} are out of order")
                events = [read_record(seq, data) for seq, data in zip(seqs, map(bytes.fromhex, texts), strict=True)]
        if is_last and next_start is not None:
            return Page(events, next_start, is_end=False)
        return Page(events, seqs[-1] if seqs else start, is_end=is_last)

    def first_after(self, seq: int) -> Event | DamagedEvent | None:
        """The oldest event behind ``seq``."""
        with self._connection() as connection:
            row = connection.execute(SQL["first_record_after"], (seq,)).fetchone()
        return None if row is None else read_record(*row)

    def has_events_upto(self, seq: int) -> bool:
        """Whether the journal still has an event up to ``seq``."""
        with self._connection() as connection:
            first = connection.execute(SQL["seq_bounds"]).fetchone()[0]
        return first is not None and first <= seq

    def story(self, event_id: bytes, state: State) -> Story | None:
        """An event by id, with what became of it; see the seam."""
        with self._connection() as connection:
            seq = find_seq(connection, event_id, state.spool.id_tag)
            row = None if seq is None else connection.execute(SQL["record"], (seq,)).fetchone()
            if seq is None or row is None:
                return None
            lanes = [_lane_story(connection, state.lanes[name], seq) for name in sorted(state.lanes)]
        return Story(read_record(seq, row[0]), lanes)

    def first_deferred(self, lane: str) -> Event | DamagedEvent | None:
        """The lane's oldest event that stands aside and is pending."""
        with self._connection() as connection:
            row = connection.execute(SQL["first_deferred"], (lane,)).fetchone()
        return None if row is None else read_record(*row)

    def deferred(self, lane: str) -> list[Deferred]:
        """See the seam."""
        with self._connection() as connection:
            return [Deferred(*row) for row in connection.execute(SQL["deferred"], (lane,))]

    def read_deferred(self, lane: str, seqs: Sequence[int]) -> list[Event | DamagedEvent]:
        """See the seam."""
        with self._connection() as connection:
            rows = [(seq, connection.execute(SQL["aside_record"], (lane, seq)).fetchone()) for seq in sorted(seqs)]
        return [read_record(seq, row[0]) for seq, row in rows if row is not None]

    def pending(self, state: State) -> int:
        """Events that some lane has not settled, each counted once."""
        with self._connection() as connection:
            return pending_events(connection, state)

    def scope(self, selection: Selection, lane: LaneRow, state: State) -> Scope:
        """Where to look for what ``selection`` holds now."""
        with self._connection() as connection:
            return find_scope(connection, selection, lane, state)

    def matches(self, selection: Selection, state: State, after: int | None, max_events: int) -> Matches:
        """See the seam."""
        lane = find_row(state.lanes, selection.lane)
        with self._connection() as connection:
            scope = find_scope(connection, selection, lane, state)
            return Search(connection, selection, scope, lane).matches(after, max_events)

    def replay_page(self, replay: ReplayRow, lane: LaneRow, max_events: int) -> ReplayPage:
        """See the seam."""
        with self._connection() as connection:
            return find_replay_page(connection, replay, lane, max_events)

    def dead(self, lane: str, *, after: int, max_events: int) -> list[DeadEvent]:
        """See the seam."""
        with self._connection() as connection:
            return dead_page(connection, lane, after, max_events)

    def find_dead(self, event_id: bytes) -> list[DeadEvent]:
        """See the seam."""
        with self._connection() as connection:
            return dead_with_id(connection, event_id)

    def audit(
        self, position: AuditPosition | None, pin: Callable[[sqlite3.Connection], Moment], max_rows: int
    ) -> AuditStep:
        """See the seam.

        Args:
            pin: Calls ``begin_reading`` between two commits, and says what the earlier one made true.
        """
        with self._connection() as connection:
            # What a fresh connection has to learn first must not take the writer's time.
            connection.execute(SQL["seq_bounds"]).fetchone()
            try:
                return audit_step(connection, pin(connection), position, max_rows)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def tally(
        self, since_ms: int | None, until_ms: int | None, position: TallyPosition | None, max_events: int
    ) -> TallyPage:
        """See the seam."""
        with self._connection() as connection:
            return tally_page(connection, since_ms, until_ms, position, max_events)

    def salvages(self) -> list[Salvage]:
        """What was brought over from damaged spools, or is being, the oldest first."""
        with self._connection() as connection:
            return [Salvage(*sound("salvage", Salvage, row)) for row in connection.execute(SQL["load_salvages"])]

    def close(self) -> None:
        """Close what is idle; nothing may be reading."""
        while self._idle:
            self._idle.pop().close()


def _classify(error: sqlite3.Error | UnicodeDecodeError) -> SpooldError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN:
        # The writer has it open: it is there. No descriptor is left for one more reader.
        return SpoolUnreadableError(f"the spool can't be opened once more now: {error}; is LimitNOFILE too low?")
    return classify(error)


def _stretch(lane: LaneRow, after: int) -> tuple[int, int, int | None]:
    """(where to start, where to stop, where to go on from when everything up to there was read)."""
    start = after
    for gap in lane.gaps:
        if gap.after <= start < gap.upto:
            start = gap.upto
        elif gap.after > start:
            return start, gap.after, gap.upto
    return start, lane.closed_seq if lane.is_closed else _NO_BOUND, None


def _numbers(text: str | None) -> list[int]:
    return list(map(int, text.split(","))) if text else []


def _lane_story(connection: sqlite3.Connection, lane: LaneRow, seq: int) -> LaneStory:
    if seq <= lane.opened_seq or lane.is_missed(seq) or (lane.is_closed and seq > lane.closed_seq):
        return LaneStory(lane.name, "none", "")
    if seq > lane.cursor:
        return LaneStory(lane.name, "pending", "")
    row = connection.execute(SQL["set_aside_reason"], (lane.name, seq)).fetchone()
    if row is None:
        return LaneStory(lane.name, "settled", "")
    kind, reason = row
    return LaneStory(lane.name, "dead" if kind == "dead" else "pending", reason)
