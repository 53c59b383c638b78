"""The seam: what the rest of the program may ask of the spool, with nothing of SQLite in it.

Three small protocols: *Journal* takes events in and reads them, *Lanes* moves each provider's way through them,
*Desk* answers the operator. Rules that hold for every engine:

- ``append`` never blocks and answers through a future; everything else blocks and belongs on a worker thread,
  never on the event loop. All methods are safe from any thread.
- A seq only rises, and a reader that has seen n never later finds a new seq below n. Gaps are allowed, so seqs
  are never subtracted: every number shown comes from a counter, changed in the commit that makes it true.
- ``settle`` is the only way a lane moves. It checks the lane's epoch and cursor in the commit that moves it, and
  repeating a settlement with the same id changes nothing.
- Nothing returned is a cursor or a connection.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from spoold.record import DamagedEvent, Draft, Event
from spoold.spool.balance import AuditPosition, AuditStep, TallyPage, TallyPosition
from spoold.spool.values import (
    Command,
    DeadEvent,
    Deferred,
    LaneState,
    Lease,
    Matches,
    Page,
    Receipt,
    Replay,
    ReplayPage,
    Selection,
    Settlement,
    SpoolStats,
    Start,
    Story,
)


class Journal(Protocol):
    """Events in, events out."""

    def append(self, drafts: Sequence[Draft]) -> "Future[list[Receipt]]":
        """Make ``drafts`` durable together: all or none.

        Never blocks. The future's callbacks run on the spool's writer thread. When it has a result, the events
        are on disk and fsynced (with ``durability = "fsync"``).

        Returns:
            A receipt for each draft, in order. It fails with SpoolFullError or SpoolClosedError (surely nothing
            was stored) or SpoolFailedError (unknown until the next start).
        """
        ...

    def read(self, lane: str, after: int, *, max_events: int, max_bytes: int) -> Page:
        """The events of ``lane`` behind ``after``, checksums checked. Changes nothing.

        Args:
            after: A seq; the lane's cursor, or where an earlier page ended.
            max_events: At most this many, and at most 1 000.
            max_bytes: Stop before the stored bytes exceed this; the first event always comes.
        """
        ...

    def find(self, event_id: bytes) -> Story | None:
        """An event that is still in the journal, with its story; None when it is not (or not visible yet)."""
        ...


class Lanes(Protocol):
    """Each provider's way through the journal."""

    def open_lane(self, name: str, kind: str, start: Start) -> LaneState:
        """Make the lane exist and accrue. Idempotent; a closed lane reopens where it was, without the gap."""
        ...

    def close_lane(self, name: str) -> LaneState:
        """The lane accrues nothing more and keeps what it has pending. Idempotent."""
        ...

    def lanes(self) -> list[LaneState]:
        """All lanes, closed ones too, by name. Costs nothing."""
        ...

    def claim(self, lane: str) -> Lease:
        """Take the lane; whoever had it before can't settle any more."""
        ...

    def settle(self, lease: Lease, settlement: Settlement) -> LaneState:
        """Move the lane, counters, set-aside and ledger in one durable commit. On a full disk it waits for room.

        Raises:
            SpoolFullError: There is none, and the spool is being closed. Nothing changed.
            LeaseLostError: The epoch or the cursor is not what the settlement was decided on. Nothing changed.
            SpoolFailedError: The disk failed; repeat blindly with the same id after the next start.
        """
        ...

    def command(self, lane: str, command: Command) -> LaneState:
        """Store an operator's word and wake the lane.

        ``pause``: send nothing. ``resume``: send again, a stopped lane at once. ``flush``: everything is due now, no
        wait is waited out. ``accept_dead``: like ``resume``, and refusals alike are no reason to stop.
        """
        ...

    def deferred(self, lane: str) -> list[Deferred]:
        """The lane's events that stand aside and are pending, by seq. At most some ten thousand."""
        ...

    def read_deferred(self, lane: str, seqs: Sequence[int]) -> list[Event | DamagedEvent]:
        """Those events, in the order of their seqs, from the copies that were set aside."""
        ...

    def next_replay(self, lane: str) -> Replay | None:
        """The oldest replay of the lane that runs. Costs nothing."""
        ...

    def read_replay(self, replay_id: int, *, max_events: int) -> "ReplayPage":
        """The next stretch of a replay."""
        ...

    def wants_room(self, lane: str) -> bool:
        """Whether appends are refused for want of room that only this lane's oldest pending events hold."""
        ...

    def oldest_pending_at_ms(self, lane: str, *, after: int | None = None) -> int | None:
        """When the lane's oldest pending event was received (wall clock, Unix milliseconds), or None.

        Args:
            after: Only of those behind this seq, which is not below the cursor.
        """
        ...

    def wait(self, lane: str, min_pending: int, timeout_seconds: float | None) -> None:
        """Return when the lane has ``min_pending`` events ahead of its cursor, was nudged, or at the timeout."""
        ...

    def nudge(self, lane: str) -> None:
        """End the lane's current or next ``wait``."""
        ...


class Desk(Protocol):
    """What the operator asks, and what keeps the spool small."""

    def stats(self) -> SpoolStats:
        """The figures of this moment."""
        ...

    def dead(self, lane: str, *, after: int, max_events: int) -> list[DeadEvent]:
        """Dead letters of a lane behind a seq, in order, at most 1 000."""
        ...

    def find_dead(self, event_id: bytes) -> list[DeadEvent]:
        """An event's dead letters, by lane."""
        ...

    def matches(self, selection: Selection, after: int | None, *, max_events: int) -> Matches:
        """Look through the next ``max_events`` (at most 1 000) for what a selection holds.

        Args:
            after: Where an earlier call ended; None to begin.

        Raises:
            UnknownLaneError: There is no such lane.
        """
        ...

    def start_replay(self, selection: Selection) -> Replay:
        """Send what the selection holds at this moment to its lane, behind live traffic.

        What the lane still has pending is left to it. A dead letter becomes pending again; anything else changes no
        counter of the lane.

        Raises:
            UnknownLaneError: There is no such lane.
            LaneClosedError: The lane is not in the configuration.
        """
        ...

    def replays(self) -> list[Replay]:
        """Those that run and the last hundred that ended, the newest first."""
        ...

    def cancel_replay(self, replay_id: int) -> Replay:
        """End a replay; what was sent stays sent. Idempotent.

        Raises:
            UnknownReplayError: There is no such replay.
        """
        ...

    def trim(self, max_events: int) -> int:
        """One small step: forget settled events that are past the retention (or sooner when room is short).

        Returns:
            How many events were forgotten; 0 when there is nothing to do now.
        """
        ...

    def audit(self, position: AuditPosition | None, *, max_rows: int) -> AuditStep:
        """Recount the terms of I2, and what they are derived from, from what is on the disk: one page of it.

        Appends, settlements and trims may go on between the pages; the outcome is exact all the same.

        Args:
            position: Where an earlier step ended, in this process; None to begin.
            max_rows: Of a page; at most 1 000.
        """
        ...

    def tally(
        self, since_ms: int | None, until_ms: int | None, position: TallyPosition | None, *, max_events: int
    ) -> TallyPage:
        """Count the events that the journal holds, a page of at most 1 000 of them.

        Args:
            since_ms: Accepted at or after, by the spool's clock (Unix milliseconds); None: all.
            until_ms: Accepted before; None: until now.
            position: Where an earlier page ended; None to begin.
        """
        ...

    def close(self) -> None:
        """Commit what was handed over, then refuse everything. Idempotent."""
        ...


class Spool(Journal, Lanes, Desk, Protocol):
    """All of it."""
