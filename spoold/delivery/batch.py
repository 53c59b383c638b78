"""A stretch of a lane's way while it is being sent: which calls are left, and what is known of each event."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile
from typing import Literal, NamedTuple, TypeAlias

from spoold.spool.values import DeadLetter, Deferred

_BATCH_ID_BYTES = 16

#: What became of an event: the provider took it, the lane's filter kept it back, its owner gave it up, it is set aside.
Fate: TypeAlias = Literal["delivered", "filtered", "purged"] | DeadLetter | Deferred


@dataclass(slots=True, eq=False)
class Item:
    """One event in the provider's JSON, on its way.

    Attributes:
        in_order: It must neither overtake nor be overtaken on its route.
        attempts: How often it was sent.
        failures: How often it failed alone while others were delivered.
        size: Bytes in a request body, separators included.
    """

    seq: int
    event_id: str
    parts: tuple[bytes, ...]
    in_order: bool = False
    attempts: int = 0
    failures: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.parts)) + len(self.parts)


@dataclass(slots=True, eq=False)
class Call:
    """One request: events of one route, in journal order.

    Attributes:
        is_flying: It is under way.
        round: Which of the lane's rounds it was sent in; an answer from an earlier one tells nothing of now.
        failed_at: How many events the lane had delivered when this last failed; None while it has not.
        is_suspect: It failed again although others were delivered in between, or is refused by a lane that stopped for
            such refusals.
        refusals: How often the whole was refused and sent again.
    """

    route: str
    items: tuple[Item, ...]
    is_flying: bool = False
    round: int = 0
    failed_at: int | None = None
    is_suspect: bool = False
    refusals: int = 0

    @property
    def parts(self) -> list[bytes]:
        """The JSON records of all events, in order."""
        return [part for item in self.items for part in item.parts]

    @property
    def is_ordered(self) -> bool:
        """Whether one of its events must keep its place."""
        return any(item.in_order for item in self.items)

    @property
    def least_sent(self) -> int:
        """How often the event was sent that was sent least often."""
        return min(item.attempts for item in self.items)

    @property
    def batch_id(self) -> str:
        """Known by its events: the same ones in the same order are the same batch (32 hexadecimal digits)."""
        events = "\n".join(item.event_id for item in self.items)
        return blake2b(events.encode(), digest_size=_BATCH_ID_BYTES).hexdigest()

    def owners(self) -> list[Item]:
        """For each part, the event it belongs to: providers name parts by index."""
        return [item for item in self.items for _ in item.parts]

    def cut(self, count: int) -> tuple["Call", "Call"]:
        """The first ``count`` events, and the rest."""
        return self.of(self.items[:count]), self.of(self.items[count:])

    def with_suspects_alone(self) -> list["Call"]:
        """Each event that failed alone in a call of its own: the others must not suffer with it."""
        alone = [self.of([item]) for item in self.items if item.failures]
        others = self.of(item for item in self.items if not item.failures)
        return [*alone, others] if others.items else alone

    def of(self, items: Iterable[Item]) -> "Call":
        """A call of some of its events, with its past."""
        return Call(
            self.route,
            tuple(items),
            failed_at=self.failed_at,
            is_suspect=self.is_suspect,
            refusals=self.refusals,
        )


class Settleable(NamedTuple):
    """What may be settled of a batch: the events in (after, upto], and what became of each."""

    after: int
    upto: int
    fates: list[tuple[int, Fate]]


class Batch:
    """The events in (after, upto], or some that stand aside.

    Fates are kept until they can be settled, so that an event with a known outcome is not sent again because of its
    neighbours.

    Attributes:
        calls: What is left to send or under way, in order.
        not_before: Monotonic seconds; until then nothing of it is sent.
        size: Bytes in requests of what was to be sent at first.
    """

    def __init__(self, after: int, upto: int, seqs: Sequence[int]) -> None:
        self.after = after
        self.upto = upto
        self.calls: list[Call] = []
        self.not_before = 0.0
        self.size = 0
        self._seqs = list(seqs)
        self._fates: dict[int, Fate] = {}

    def __len__(self) -> int:
        """How many events are not settled."""
        return len(self._seqs)

    def resolve(self, seq: int, fate: Fate) -> None:
        """What became of an event."""
        self._fates[seq] = fate

    def give_up(self) -> int:
        """Whatever is not known is purged; nothing of it may be under way. Returns its size in requests, in bytes."""
        size = sum(item.size for call in self.calls for item in call.items)
        for seq in self._seqs:
            self._fates.setdefault(seq, "purged")
        self.calls.clear()
        return size

    def take_back(self, seq: int) -> bool:
        """Think again about an event; False when it is settled already, or none of this batch."""
        return self._fates.pop(seq, None) is not None

    def replace(self, call: Call, *calls: Call) -> None:
        """Others in the place of a call; none: it is done with."""
        index = self.calls.index(call)
        self.calls[index : index + 1] = [other for other in calls if other.items]

    @property
    def is_resolved(self) -> bool:
        """Whether the fate of every event is known."""
        return len(self._fates) == len(self._seqs)

    @property
    def has_known(self) -> bool:
        """Whether there is an event whose fate is known."""
        return bool(self._fates)

    def take_settleable(self) -> Settleable:
        """Remove the longest stretch from the start whose fates are all known; ``after == upto`` when there is none."""
        head = list(takewhile(self._fates.__contains__, self._seqs))
        self._seqs = self._seqs[len(head) :]
        after = self.after
        if not self._seqs:
            self.after = self.upto
        elif head:
            self.after = head[-1]
        return Settleable(after, self.after, [(seq, self._fates.pop(seq)) for seq in head])

    def take_known(self) -> list[tuple[int, Fate]]:
        """Remove what is known, wherever it stands: for events that stand aside, which wait for nobody."""
        known = [(seq, self._fates.pop(seq)) for seq in self._seqs if seq in self._fates]
        taken = {seq for seq, _ in known}
        self._seqs = [seq for seq in self._seqs if seq not in taken]
        return known


def next_call(batches: Iterable[Batch], now: float) -> tuple[Batch, Call] | None:
    """The first call that may go out."""
    return next(free_calls(batches, now), None)


def free_calls(batches: Iterable[Batch], now: float) -> Iterator[tuple[Batch, Call]]:
    """The calls that may go out, in order: what must keep its place waits for all before it on its route."""
    has_ordered_ahead: dict[str, bool] = {}
    for batch in batches:
        for call in batch.calls:
            ahead = has_ordered_ahead.get(call.route)
            is_free = ahead is None or not (ahead or call.is_ordered)
            if is_free and not call.is_flying and batch.not_before <= now:
                yield batch, call
            has_ordered_ahead[call.route] = bool(ahead) or call.is_ordered
