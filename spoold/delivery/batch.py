"""A stretch of a lane's way while it is being sent: which calls are left, and what is known of each event."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile

from spoold.providers.base import Encoded, Limits, Provider, Unsendable
from spoold.record import DamagedEvent, Event
from spoold.spool.contract import DeadLetter
from spoold.spool.lanes import DAMAGED

_BATCH_ID_BYTES = 16


@dataclass(slots=True)
class Item:
    """One event in the provider's JSON, on its way.

    Attributes:
        attempts: How often it was sent.
    """

    seq: int
    event_id: str
    parts: tuple[bytes, ...]
    attempts: int = 0

    @property
    def size(self) -> int:
        """Bytes in a request body, separators included."""
        return sum(len(part) + 1 for part in self.parts)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: events of one route, in journal order."""

    route: str
    items: tuple[Item, ...]

    @property
    def parts(self) -> list[bytes]:
        """The JSON records of all events, in order."""
        return [part for item in self.items for part in item.parts]

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
        return Call(self.route, self.items[:count]), Call(self.route, self.items[count:])


class Batch:
    """The events in (after, upto].

    An event's fate is None (the provider took it) or a dead letter. Fates are kept until they can be settled, so that
    an event with a known outcome is not sent again because of its neighbours.
    """

    def __init__(self, after: int, upto: int, seqs: Sequence[int]) -> None:
        self.after = after
        self.upto = upto
        self.calls: deque[Call] = deque()
        self._seqs = list(seqs)
        self._fates: dict[int, DeadLetter | None] = {}

    def resolve(self, seq: int, fate: DeadLetter | None) -> None:
        """What became of an event."""
        self._fates[seq] = fate

    def take_back(self, seq: int) -> bool:
        """Think again about an event; False when it is settled already."""
        if seq not in self._fates:
            return False
        del self._fates[seq]
        return True

    @property
    def is_resolved(self) -> bool:
        """Whether the fate of every event is known."""
        return len(self._fates) == len(self._seqs)

    @property
    def is_head_known(self) -> bool:
        """Whether there is something to settle."""
        return bool(self._seqs) and self._seqs[0] in self._fates

    def take_settleable(self) -> tuple[int, int, list[DeadLetter | None]]:
        """Remove the longest stretch from the start whose fates are all known.

        Returns:
            (after, upto, fates) of that stretch; ``after == upto`` when there is none.
        """
        head = list(takewhile(self._fates.__contains__, self._seqs))
        self._seqs = self._seqs[len(head) :]
        after = self.after
        if not self._seqs:
            self.after = self.upto
        elif head:
            self.after = head[-1]
        return after, self.after, [self._fates.pop(seq) for seq in head]


def plan(
    provider: Provider, after: int, upto: int, events: Sequence[Event | DamagedEvent], max_body_bytes: int | None
) -> Batch:
    """Turn a stretch of the journal into calls; what can't be sent is dead at once.

    Args:
        max_body_bytes: A smaller cap than the provider's own, learnt from its refusals.
    """
    batch = Batch(after, upto, [event.seq for event in events])
    by_route: dict[str, list[Item]] = {route: [] for route in provider.routes}
    for event in events:
        encoded = _encode(provider, event)
        if isinstance(encoded, DeadLetter):
            batch.resolve(event.seq, encoded)
        elif isinstance(event, Event):
            by_route[encoded.route].append(Item(event.seq, event.event_id, encoded.parts))
    batch.calls.extend(_pack(by_route, provider.routes, max_body_bytes))
    return batch


def _encode(provider: Provider, event: Event | DamagedEvent) -> Encoded | DeadLetter:
    if isinstance(event, DamagedEvent):
        return DeadLetter(event.seq, DAMAGED, status=None, attempts=0)
    encoded = provider.encode(event)
    if isinstance(encoded, Unsendable):
        return DeadLetter(event.seq, f"unsendable: {encoded.reason}", status=None, attempts=0)
    return encoded


def _pack(
    by_route: Mapping[str, Sequence[Item]], routes: Mapping[str, Limits], max_body_bytes: int | None
) -> list[Call]:
    calls: list[Call] = []
    for route, items in by_route.items():
        limits = routes[route]
        max_bytes = min(limits.max_body_bytes, max_body_bytes or limits.max_body_bytes)
        chunk: list[Item] = []
        # The brackets around the records.
        size, parts = 2, 0
        for item in items:
            is_full = parts + len(item.parts) > limits.max_parts or size + item.size > max_bytes
            if chunk and is_full:
                calls.append(Call(route, tuple(chunk)))
                chunk, size, parts = [], 2, 0
            chunk.append(item)
            size += item.size
            parts += len(item.parts)
        if chunk:
            calls.append(Call(route, tuple(chunk)))
    return calls
