"""Reading ahead: events from the journal in the provider's JSON, handed out as batches that fill requests well."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spoold.delivery.batch import Batch, Call, Item
from spoold.delivery.filter import EventFilter
from spoold.providers.base import Limits, Provider, Unsendable
from spoold.record import DamagedEvent, Event
from spoold.spool.contract import Journal
from spoold.spool.values import DAMAGED, DeadLetter

_PAGE_BYTES = 2 * 1024 * 1024
_PAGE_EVENTS = 1000
#: However much a provider takes (Amplitude's ``/batch``: 20 MB), several requests are in memory at once, each twice.
_MAX_BODY_BYTES = 4 * 1024 * 1024
#: The brackets around the records.
_BODY_BYTES = 2


class Encoded(NamedTuple):
    """An event, ready to be sent, or the reason why it never will be."""

    seq: int
    route: str
    item: Item | None
    fate: DeadLetter | None


class Feed:
    """A lane's way ahead of what was handed out. Belongs to the lane's thread.

    Attributes:
        position: Everything up to this seq was handed out.
    """

    def __init__(self, lane: str, journal: Journal, provider: Provider, event_filter: EventFilter) -> None:
        self._lane = lane
        self._journal = journal
        self._provider = provider
        self._filter = event_filter
        self.rewind(0)

    def rewind(self, position: int) -> None:
        """Read on from here."""
        self.position = position
        self._read_upto = position
        self._ahead: deque[Encoded] = deque()

    def take(
        self, max_events: int, max_body_bytes: int | None, *, fills: bool = False, upto: int | None = None
    ) -> Batch:
        """The next batch.

        Args:
            max_events: At most so many events, 1 or more.
            max_body_bytes: A smaller cap than the provider's own, learnt from its refusals.
            fills: No more than fits one request of each route, so that the next one can be filled as well.
            upto: Exactly the events up to this seq: a batch that was decided before.

        Returns:
            The batch; empty, with ``upto == after``, when nothing is ahead.
        """
        after = self.position
        rooms = {route: Room(limits, max_body_bytes) for route, limits in self._provider.routes.items()}
        taken: list[Encoded] = []
        while len(taken) < max_events or upto is not None:
            if not self._ahead and not self._read(max_events - len(taken) if upto is None else _PAGE_EVENTS):
                break
            if not self._ahead:
                continue
            first = self._ahead[0]
            if upto is not None and first.seq > upto:
                break
            if fills and first.item is not None and not rooms[first.route].takes(first.item) and taken:
                break
            taken.append(self._ahead.popleft())
        # Behind the last event may lie a gap, which goes with it.
        if upto is not None:
            self.position = upto
        elif not self._ahead:
            self.position = self._read_upto
        elif taken:
            self.position = taken[-1].seq
        batch = Batch(after, self.position, [encoded.seq for encoded in taken])
        fill(batch, taken, self._provider.routes, max_body_bytes)
        return batch

    def _read(self, wanted: int) -> bool:
        """Read a page; False when nothing was behind."""
        page = self._journal.read(
            self._lane, self._read_upto, max_events=min(wanted, _PAGE_EVENTS), max_bytes=_PAGE_BYTES
        )
        has_moved = page.after > self._read_upto
        self._read_upto = page.after
        self._ahead += encode_all(self._provider, self._filter, page.events)
        return has_moved


class Room:
    """What still fits into one request."""

    def __init__(self, limits: Limits, max_body_bytes: int | None) -> None:
        self._bytes = min(limits.max_body_bytes, max_body_bytes or _MAX_BODY_BYTES, _MAX_BODY_BYTES) - _BODY_BYTES
        self._parts = limits.max_parts

    def takes(self, item: Item) -> bool:
        """Take the room of one more event; False when it does not fit."""
        self._bytes -= item.size
        self._parts -= len(item.parts)
        return self._bytes >= 0 and self._parts >= 0


def encode_all(
    provider: Provider, event_filter: EventFilter, events: Iterable[Event | DamagedEvent]
) -> Iterable[Encoded]:
    """Each event as the lane sees it, in the provider's JSON."""
    for event in events:
        if isinstance(event, DamagedEvent):
            yield Encoded(event.seq, "", None, DeadLetter(event.seq, DAMAGED, status=None, attempts=0))
            continue
        view = event_filter.apply(event)
        if view is None:
            yield Encoded(event.seq, "", None, None)
            continue
        encoded = provider.encode(view)
        if isinstance(encoded, Unsendable):
            letter = DeadLetter(event.seq, f"unsendable: {encoded.reason}", status=None, attempts=0)
            yield Encoded(event.seq, "", None, letter)
        else:
            route, parts, in_order = encoded
            yield Encoded(event.seq, route, Item(event.seq, event.event_id, parts, in_order), None)


def fill(batch: Batch, events: Iterable[Encoded], routes: Mapping[str, Limits], max_body_bytes: int | None) -> None:
    """Put ``events`` into the calls of ``batch``; what is not sent has its fate at once."""
    by_route: dict[str, list[Item]] = {route: [] for route in routes}
    for seq, route, item, fate in events:
        if item is None:
            batch.resolve(seq, "filtered" if fate is None else fate)
        else:
            by_route[route].append(item)
    for route, items in by_route.items():
        batch.calls += _pack(route, items, routes[route], max_body_bytes)
        batch.size += sum(item.size for item in items)


def _pack(route: str, items: Sequence[Item], limits: Limits, max_body_bytes: int | None) -> list[Call]:
    calls: list[Call] = []
    chunk: list[Item] = []
    room = Room(limits, max_body_bytes)
    for item in items:
        if not room.takes(item) and chunk:
            calls.append(Call(route, tuple(chunk)))
            chunk, room = [], Room(limits, max_body_bytes)
            room.takes(item)
        chunk.append(item)
    if chunk:
        calls.append(Call(route, tuple(chunk)))
    return calls
