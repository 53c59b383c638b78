"""What a lane has in hand: batches from the journal, events that stood aside, a stretch of a replay."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from spoold.delivery.batch import Batch, Call, Fate
from spoold.spool.values import DeadLetter, Deferred, ReplayStep


@dataclass(slots=True)
class ReplayBatch:
    """A stretch of a replay while it is being sent.

    Attributes:
        is_end: Nothing of the replay is left behind it.
    """

    id: int
    batch: Batch
    revived: tuple[int, ...]
    is_end: bool


@dataclass(slots=True)
class Outcomes:
    """What is known and not settled, as a settlement tells it.

    Attributes:
        delivered: Of the events in (after, upto].
        filtered: Likewise.
        purged: Likewise.
        returned: How many events that stood aside were delivered.
    """

    after: int
    upto: int
    delivered: int = 0
    filtered: int = 0
    purged: int = 0
    returned: int = 0
    dead: list[DeadLetter] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    released_filtered: int = 0
    replay: ReplayStep | None = None

    def add_ahead(self, fates: list[tuple[int, Fate]]) -> None:
        """Events on the lane's way."""
        for _, fate in fates:
            if fate == "delivered":
                self.delivered += 1
            elif fate == "filtered":
                self.filtered += 1
            elif fate == "purged":
                self.purged += 1
            else:
                self._set_aside(fate)

    def add_aside(self, fates: list[tuple[int, Fate]]) -> None:
        """Events that stood aside."""
        for seq, fate in fates:
            if fate in ("delivered", "filtered"):
                self.released.append(seq)
                self.released_filtered += fate == "filtered"
                self.returned += fate == "delivered"
            else:
                self._set_aside(fate)

    def _set_aside(self, fate: Fate) -> None:
        if isinstance(fate, DeadLetter):
            self.dead.append(fate)
        elif isinstance(fate, Deferred):
            self.deferred.append(fate)


class Window:
    """The batches in hand. Journal batches are settled in order, the others when they are known."""

    def __init__(self) -> None:
        self.ahead: list[Batch] = []
        self.aside: Batch | None = None
        self.replay: ReplayBatch | None = None

    def batches(self, *, aside_first: bool) -> list[Batch]:
        """All of them, in the order in which their calls go out: replays behind live traffic."""
        aside = [] if self.aside is None else [self.aside]
        replay = [] if self.replay is None else [self.replay.batch]
        return [*aside, *self.ahead, *replay] if aside_first else [*self.ahead, *aside, *replay]

    def is_replay(self, batch: Batch) -> bool:
        """Whether a batch is a replay's."""
        return self.replay is not None and self.replay.batch is batch

    def batch_of(self, call: Call) -> Batch:
        """Where a call belongs.

        Raises:
            ValueError: It is none of these, or not under way.
        """
        for batch in self.batches(aside_first=True):
            if call.is_flying and call in batch.calls:
                return batch
        raise ValueError("there is no such call under way")

    def flying(self) -> Iterator[Call]:
        """The calls under way."""
        return (call for batch in self.batches(aside_first=True) for call in batch.calls if call.is_flying)

    @property
    def unsettled(self) -> int:
        """How many of the events ahead are in hand."""
        return sum(map(len, self.ahead))

    @property
    def size(self) -> int:
        """Bytes of the batches ahead, as they go into requests."""
        return sum(batch.size for batch in self.ahead)

    @property
    def is_settleable(self) -> bool:
        """Whether a batch is through, or an event that stood aside is known."""
        is_replay_known = self.replay is not None and self.replay.batch.is_resolved
        is_aside_known = self.aside is not None and self.aside.has_known
        return bool(self.ahead and self.ahead[0].is_resolved) or is_aside_known or is_replay_known

    def collect(self, cursor: int) -> Outcomes:
        """Take out all that may be settled, a known head of a batch too."""
        outcomes = Outcomes(cursor, cursor)
        while self.ahead:
            _, outcomes.upto, fates = self.ahead[0].take_settleable()
            outcomes.add_ahead(fates)
            if len(self.ahead[0]):
                break
            self.ahead.pop(0)
        if self.aside is not None:
            outcomes.add_aside(self.aside.take_known())
            if not len(self.aside):
                self.aside = None
        if self.replay is not None:
            outcomes.replay = self._collect_replay(self.replay)
        return outcomes

    def _collect_replay(self, replay: ReplayBatch) -> ReplayStep | None:
        before = len(replay.batch)
        _, upto, fates = replay.batch.take_settleable()
        is_through = not len(replay.batch)
        if len(replay.batch) == before and not is_through:
            return None
        sent = sum(fate == "delivered" for _, fate in fates)
        failed = sum(isinstance(fate, DeadLetter) for _, fate in fates)
        # With the step that passes them, neither later nor sooner: a restart reads on from there, and would never see
        # those again, or see them gone and send them once more.
        revived = tuple(seq for seq in replay.revived if seq <= upto)
        replay.revived = replay.revived[len(revived) :]
        if is_through:
            self.replay = None
        return ReplayStep(replay.id, upto, sent, failed, revived, is_done=is_through and replay.is_end)
