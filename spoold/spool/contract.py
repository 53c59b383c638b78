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
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from spoold.record import DamagedEvent, Draft, Event

Start = Literal["latest", "earliest"]


class Receipt(NamedTuple):
    """Proof that an event is on disk (I1).

    Attributes:
        seq: Its position in the journal.
        event_id: Its 16 bytes.
        duplicate: The id was in the journal already: nothing was appended, the first content wins.
    """

    seq: int
    event_id: bytes
    duplicate: bool


class Page(NamedTuple):
    """A stretch of a lane's way, in order.

    Attributes:
        events: What stands there.
        after: The seq from which to read on, and up to which a settlement of the whole page goes.
        is_end: Nothing more stood behind it when it was read.
    """

    events: list[Event | DamagedEvent]
    after: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class RetryState:
    """How a lane's attempts stand; survives a restart.

    Attributes:
        failures: Failed attempts in a row.
        is_stopped: The provider's last word was that nothing will pass.
        wait_ms: Length of the wait after the last failure.
        not_before_ms: Wall clock at which that wait ends. What is left at load is
            min(wait_ms, not_before_ms - now), so that a clock that jumped delays nothing for long.
        last_error: For the operator; empty when the last attempt succeeded.
        last_error_at_ms: Wall clock.
    """

    failures: int = 0
    is_stopped: bool = False
    wait_ms: int = 0
    not_before_ms: int = 0
    last_error: str = ""
    last_error_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class LaneState:
    """One provider's way through the journal.

    The terms of I2 (accepted = delivered + dead + filtered + purged + pending) are counters of this row.

    Attributes:
        cursor: Everything up to this seq is settled.
        epoch: Rises with each claim; fences an older owner.
        is_closed: Not in the configuration: accrues nothing more, keeps what it had pending.
        missed: Accepted while the lane was closed and still ahead of its cursor; it will jump over them.
    """

    name: str
    kind: str
    cursor: int
    epoch: int
    is_closed: bool
    accepted: int
    delivered: int
    dead: int
    filtered: int
    purged: int
    missed: int
    retry: RetryState

    @property
    def pending(self) -> int:
        """Accepted for this lane and not yet settled."""
        return self.accepted - self.delivered - self.dead - self.filtered - self.purged


class Lease(NamedTuple):
    """The right to settle a lane, until somebody claims it anew."""

    lane: str
    epoch: int


class DeadLetter(NamedTuple):
    """An event to set aside for good, with the reason.

    Attributes:
        seq: Which event.
        reason: ``damaged``, ``unsendable: …`` or the provider's own words.
        status: HTTP status of the last attempt, or None.
        attempts: How often it was sent.
    """

    seq: int
    reason: str
    status: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """One step of a lane: what became of the events in (after, upto].

    ``upto == after`` moves nothing and only records how the attempts stand.

    Attributes:
        id: Unique per settlement; a repeat is answered with the state and changes nothing.
        after: The cursor on which this was decided.
        upto: The new cursor.
        delivered: How many events the provider took.
        filtered: How many the lane's filter kept back.
        dead: The events set aside.
        retry: How the attempts stand now.
        outcome: ``delivered``, ``partial``, ``retry``, ``split`` or ``stop``, for the ledger.
        status: HTTP status, or None when none came back.
        took_ms: From the first byte sent to the reply understood.
    """

    id: bytes
    after: int
    upto: int
    delivered: int
    filtered: int
    dead: tuple[DeadLetter, ...]
    retry: RetryState
    outcome: str
    status: int | None
    took_ms: int


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """The spool at a glance; costs the same however long the backlog (I8).

    Attributes:
        accepted: Events ever accepted (a duplicate is not).
        pending: Events that some lane has not settled.
        retained: Events kept although every lane has settled them.
        bytes: Size of the spool's files, WAL and dead letters included.
        oldest_pending_at_ms: When the oldest pending event was received, or None.
        refusing: Why appends are refused at this moment (a ``SpoolFullError.reason``), or None.
        damaged: Records found damaged so far.
    """

    accepted: int
    pending: int
    retained: int
    duplicates: int
    bytes: int
    max_bytes: int
    wal_bytes: int
    dead_bytes: int
    disk_free_bytes: int
    oldest_pending_at_ms: int | None
    refusing: str | None
    damaged: int


class LaneStory(NamedTuple):
    """What became of one event in one lane.

    Attributes:
        fate: ``pending``, ``settled`` (delivered or filtered), ``dead``, or ``none`` when the lane never had it.
        reason: Why, where dead.
    """

    lane: str
    fate: str
    reason: str


class Story(NamedTuple):
    """One event, and what became of it in each lane."""

    event: Event | DamagedEvent
    lanes: list[LaneStory]


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
        """Move the lane, counters, set-aside and ledger in one durable commit.

        Raises:
            LeaseLostError: The epoch or the cursor is not what the settlement was decided on. Nothing changed.
            SpoolFailedError: The disk failed; repeat blindly with the same id after the next start.
        """
        ...

    def oldest_pending_at_ms(self, lane: str) -> int | None:
        """When the lane's oldest pending event was received (wall clock, Unix milliseconds), or None."""
        ...

    def wait(self, lane: str, min_pending: int, timeout_seconds: float | None) -> None:
        """Return when the lane has ``min_pending`` events pending, was nudged, or at the timeout."""
        ...

    def nudge(self, lane: str) -> None:
        """End the lane's current or next ``wait``."""
        ...


class Desk(Protocol):
    """What the operator asks, and what keeps the spool small."""

    def stats(self) -> SpoolStats:
        """The figures of this moment."""
        ...

    def trim(self, max_events: int) -> int:
        """One small step: forget settled events that are past the retention (or sooner when room is short).

        Returns:
            How many events were forgotten; 0 when there is nothing to do now.
        """
        ...

    def close(self) -> None:
        """Commit what was handed over, then refuse everything. Idempotent."""
        ...


class Spool(Journal, Lanes, Desk, Protocol):
    """All of it."""
