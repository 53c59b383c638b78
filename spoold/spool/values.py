"""What passes the seam: values, none of them a cursor or a connection."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from spoold.record import DamagedEvent, Event
from spoold.spool.salvaged import Salvage

Start = Literal["latest", "earliest"]
Command = Literal["pause", "resume", "flush", "accept_dead"]

#: The reason of a dead letter whose record failed its checksum.
DAMAGED = "damaged"
#: The outcome of a settlement that only decides which events share a batch: no attempt, so no ledger row.
PLANNED = "planned"


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
        is_paused: An operator's word: nothing is sent until ``resume``.
        accepts_dead: An operator's word: refusals alike are no reason to stop, until something is delivered.
        flushes: How often an operator said ``flush`` or ``resume``: each makes everything due at once.
        deferred: How many of the pending events stand aside, each with a wait of its own.
        missed: Accepted while the lane was closed and still ahead of its cursor; it will jump over them.
        batches: Behind the cursor, the last seqs of batches whose membership was decided and may not change.
    """

    name: str
    kind: str
    cursor: int
    epoch: int
    is_closed: bool
    is_paused: bool
    accepts_dead: bool
    flushes: int
    accepted: int
    delivered: int
    dead: int
    filtered: int
    purged: int
    deferred: int
    missed: int
    retry: RetryState
    batches: tuple[int, ...]

    @property
    def pending(self) -> int:
        """Accepted for this lane and not yet settled."""
        return self.accepted - self.delivered - self.dead - self.filtered - self.purged

    def word(self, running: str | None = None) -> str:
        """How it stands, in one word.

        Args:
            running: What the lane itself says where it runs: only it knows when it sends, and when it is down.
        """
        if self.is_closed:
            return "closed"
        # Whatever else is wrong with it, nothing is sent before an operator says so.
        if self.is_paused:
            return "paused"
        if running is not None:
            return running
        if self.retry.is_stopped:
            return "stopped"
        return "backoff" if self.retry.failures else "idle"


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


class Deferred(NamedTuple):
    """An event that the lane goes on without for a while. It stays pending.

    Attributes:
        seq: Which event.
        wait_ms: Length of its wait.
        not_before_ms: Wall clock at which that wait ends.
        attempts: How often it was sent.
        failures: How often it failed alone while others passed.
        reason: Why it waits.
        status: HTTP status of the last attempt, or None.
    """

    seq: int
    wait_ms: int
    not_before_ms: int
    attempts: int
    failures: int
    reason: str
    status: int | None


class ReplayStep(NamedTuple):
    """How a replay went on.

    Attributes:
        id: Which replay.
        upto: It is done with the events up to this seq.
        sent: How many events the provider took.
        failed: How many it refused for good, or that can't be sent.
        revived: Dead letters that are pending again, due at once; they count as ``sent`` nowhere.
        is_done: Nothing is left of it.
    """

    id: int
    upto: int
    sent: int
    failed: int
    revived: tuple[int, ...]
    is_done: bool


@dataclass(frozen=True, slots=True)
class Settlement:
    """One step of a lane: what became of the events in (after, upto], and of events that stand aside.

    ``upto == after`` moves nothing and only records how the attempts stand.

    Attributes:
        id: Unique per settlement; a repeat is answered with the state and changes nothing.
        after: The cursor on which this was decided.
        upto: The new cursor.
        delivered: How many of (after, upto] the provider took.
        filtered: How many of them the lane's filter kept back.
        purged: How many of them the owner's policy gave up.
        dead: Events of (after, upto], or deferred ones, set aside for good.
        deferred: Events of (after, upto], or deferred or dead ones, that stand aside and are pending.
        released: Deferred events that the provider took (or the filter keeps back now: then they count as filtered).
        released_filtered: How many of ``released`` were filtered.
        retry: How the attempts stand now.
        outcome: ``delivered``, ``partial``, ``retry``, ``split``, ``stop``, ``purged``, ``replay`` or ``planned``, for
            the ledger, which says nothing of what moves no event.
        status: HTTP status, or None when none came back.
        took_ms: From the first byte sent to the reply understood.
        replay: How a replay went on in this step.
        batches: New ends of decided batches behind ``upto``; None leaves those that are ahead of it.
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
    purged: int = 0
    deferred: tuple[Deferred, ...] = ()
    released: tuple[int, ...] = ()
    released_filtered: int = 0
    replay: ReplayStep | None = None
    batches: tuple[int, ...] | None = None

    @property
    def moves(self) -> bool:
        """Whether something became of an event."""
        return self.upto > self.after or bool(self.dead or self.deferred or self.released) or self.replay is not None


@dataclass(frozen=True, slots=True)
class Selection:
    """Events to send again to one lane; all conditions hold together.

    Attributes:
        lane: To which lane.
        is_dead: Only the lane's dead letters; else what is in the journal, dead letters included.
        since_ms: Received at or after this (wall clock, Unix milliseconds); None: from the oldest.
        until_ms: Received before this; None: up to now.
        event_ids: Only these (16 bytes each); none: any.
        event_names: Only tracked events of these names; none: any.
        user_id: Only this user's; empty: anybody's.
    """

    lane: str
    is_dead: bool = False
    since_ms: int | None = None
    until_ms: int | None = None
    event_ids: tuple[bytes, ...] = ()
    event_names: tuple[str, ...] = ()
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """A selection being sent again; survives a restart.

    Attributes:
        state: ``running``, ``done`` or ``cancelled``.
        progress: 0 to 1, by position.
        sent: Events that the provider took through it.
        failed: Events that it refused, or that can't be sent.
        revived: Dead letters made pending again; what became of them is counted by the lane.
        finished_at_ms: Wall clock; None while it runs.
    """

    id: int
    selection: Selection
    state: str
    progress: float
    sent: int
    failed: int
    revived: int
    created_at_ms: int
    finished_at_ms: int | None


class Matches(NamedTuple):
    """What a selection holds in one stretch.

    Attributes:
        events: The events themselves, in order.
        after: From where to look on.
        progress: 0 to 1, by position.
        is_end: Nothing is left to look through.
    """

    events: list[Event | DamagedEvent]
    after: int
    progress: float
    is_end: bool


class ReplayPage(NamedTuple):
    """A stretch of a replay.

    Attributes:
        events: What to send.
        revived: Seqs of dead letters to make pending again.
        upto: Up to which seq the replay is done when these are.
        is_end: Nothing is left behind it.
    """

    events: list[Event | DamagedEvent]
    revived: list[int]
    upto: int
    is_end: bool


class DeadEvent(NamedTuple):
    """A dead letter with its event.

    Attributes:
        lane: Where it is dead.
        event: The event, from the copy that was set aside with it.
        status: HTTP status of the last attempt, or None.
        reason: Why.
        attempts: How often it was sent.
        dead_at_ms: Wall clock.
    """

    lane: str
    event: Event | DamagedEvent
    status: int | None
    reason: str
    attempts: int
    dead_at_ms: int


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
        salvages: What was brought over from damaged spools, or is being, the oldest first.
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
    salvages: tuple[Salvage, ...] = ()

    @property
    def is_damaged(self) -> bool:
        """Whether damage was found that took something, or may have."""
        return self.damaged > 0 or any(one.is_running or one.lost for one in self.salvages)


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
