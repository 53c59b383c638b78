"""What callers sent and what they were told, and the promises held against it.

Each event carries a number of its own in its properties, so that it is known again whatever its id.
"""

import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import grpc
import orjson

from spoold.api.analytics.v1 import service_pb2
from spoold.record import Event
from tests.support.front_door import Stub
from tests.support.provider_server import ProviderServer
from tests.support.services import identified, tracked, values

Json = dict[str, Any]
Ids = Literal["uuid", "words", "none"]

#: Mixpanel refuses these; the others take them.
BAD_NAME = "Bad"
#: Amplitude puts off what this user does.
LATE_USER = "late-user"
_NUMBER = "n"
_FIRST_MS = 1_700_000_000_000


class BrokenPromiseError(AssertionError):
    """Something that was acknowledged is not there, or something is there that nobody sent."""


@dataclass
class Sent:
    """One event as its caller knows it.

    Attributes:
        event_id: What the caller chose, or was told; empty while it knows none.
        properties: As plain values.
    """

    number: str
    item: service_pb2.BatchItem
    properties: Json
    event_id: str
    is_acknowledged: bool = False

    @property
    def request(self) -> Any:
        """The message, of either kind."""
        return self.item.track if self.is_track else self.item.identify

    @property
    def is_track(self) -> bool:
        return self.item.HasField("track")

    @property
    def name(self) -> str:
        return self.item.track.event_name if self.is_track else ""


@dataclass(frozen=True)
class Call:
    """One call of a caller: all its events are stored, or none.

    Attributes:
        is_repeatable: Each event has an id of the caller's, so sending it again is harmless.
    """

    events: tuple[Sent, ...]
    is_repeatable: bool


class Book:
    """Draws calls from a seed, carries them, and remembers. Safe from any thread.

    Attributes:
        sent: All events by number.
        repeats: How many of them were sent again.
        replays: Numbers of those that an operator was told of, to be carried out.
        damaged: Events whose stored records are damaged: nobody may get these.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self.sent: dict[str, Sent] = {}
        self._doubts: list[Call] = []
        self.repeats = 0
        self.replays: list[int] = []
        self.damaged: list[Sent] = []

    @property
    def acknowledged(self) -> list[Sent]:
        """What must arrive."""
        return [sent for sent in self.sent.values() if sent.is_acknowledged]

    def draw(self, most: int = 12, *, ids: Ids | None = None, is_plain: bool = False) -> Call:
        """A call that was never made before: a lone event, a profile, or up to ``most`` in one.

        Args:
            is_plain: With nothing in it that a provider refuses or puts off.
        """
        with self._lock:
            count = self._rng.choice((1, 1, self._rng.randint(2, max(2, most))))
            ids = ids or self._rng.choices(("uuid", "words", "none"), (4, 1, 2))[0]
            events = tuple(self._draw_event(ids, is_plain=is_plain) for _ in range(count))
            self.sent |= {sent.number: sent for sent in events}
        return Call(events, is_repeatable=ids != "none")

    def carry(self, call: Call, stub: Stub) -> bool:
        """Make the call; False when its outcome is unknown, or it was refused."""
        try:
            event_ids = _send(call, stub)
        except grpc.RpcError:
            self.doubt([call])
            return False
        with self._lock:
            for sent, event_id in zip(call.events, event_ids, strict=True):
                if sent.event_id and sent.event_id != event_id and _is_uuid(sent.event_id):
                    raise BrokenPromiseError(f"{sent.event_id} was sent, and {event_id} answered")
                sent.event_id, sent.is_acknowledged = event_id, True
        return True

    def doubt(self, calls: Iterable[Call]) -> None:
        """Nobody knows whether these were stored: they are to be made again, where that is harmless."""
        with self._lock:
            self._doubts += [call for call in calls if call.is_repeatable]

    def take_doubts(self) -> list[Call]:
        """The calls to make again."""
        with self._lock:
            doubts, self._doubts = self._doubts, []
            self.repeats += sum(len(call.events) for call in doubts)
        return doubts

    def damage(self, sent: Sent) -> None:
        """Its record is altered on the disk: it is to be set aside, and must not arrive."""
        sent.is_acknowledged = False
        self.damaged.append(sent)

    def _draw_event(self, ids: Ids, *, is_plain: bool) -> Sent:
        rng = self._rng
        number = str(len(self.sent) + rng.getrandbits(48) * 1_000_000)
        chosen = {"uuid": str(UUID(int=rng.getrandbits(128), version=4)), "words": f"order-{number}", "none": ""}[ids]
        properties: Json = {_NUMBER: number, "amount": rng.randrange(1000) + 0.5, "is_new": rng.random() < 0.5}
        properties["text"] = rng.randbytes(rng.choice((0, 20, 400))).hex()
        user = f"user-{number}"
        fields: Json = {"event_id": chosen, "timestamp_ms": _FIRST_MS + rng.randrange(10**9)}
        if rng.random() < 0.15:
            return Sent(number, identified(user, properties=values(**properties), **fields), properties, chosen)
        properties |= {"none": None, "cart": {"item": "ä€😀"}}
        name = "Order Paid"
        if not is_plain:
            name = rng.choices((name, BAD_NAME), (15, 1))[0]
            user = rng.choices((user, LATE_USER), (30, 1))[0]
        return Sent(number, tracked(name, user, properties=values(**properties), **fields), properties, chosen)


def _send(call: Call, stub: Stub) -> list[str]:
    if len(call.events) > 1:
        request = service_pb2.TrackBatchRequest(items=[sent.item for sent in call.events])
        return [result.event_id for result in stub.TrackBatch(request, timeout=20).results]
    (sent,) = call.events
    method = stub.TrackEvent if sent.is_track else stub.IdentifyUser
    return [method(sent.request, timeout=20).event_id]


def _is_uuid(text: str) -> bool:
    return not text.startswith("order-")


def missing(book: Book, kind: str, server: ProviderServer) -> set[str]:
    """Numbers of acknowledged events that a provider does not have and has not refused."""
    there = {number for number, _, _ in _arrived(kind, server)}
    return {one.number for one in book.acknowledged if not _is_refused(kind, one)} - there


def check_arrived(book: Book, kind: str, server: ProviderServer) -> int:
    """What a provider got is what was accepted, byte for byte, each under one id; returns how many it got.

    Raises:
        BrokenPromiseError: Nobody sent it, it is altered, or it came under two ids.
    """
    ids: dict[str, str] = {}
    for number, event_id, record in _arrived(kind, server):
        sent = book.sent.get(number)
        if sent is None:
            raise BrokenPromiseError(f"{kind} got what nobody sent: {record}")
        if sent in book.damaged:
            raise BrokenPromiseError(f"{kind} got a damaged event: {record}")
        if ids.setdefault(number, event_id) != event_id:
            raise BrokenPromiseError(f"{kind} got event {number} as {ids[number]} and as {event_id}")
        known = sent.event_id if sent.is_acknowledged or _is_uuid(sent.event_id) else ""
        expected = _expected(kind, sent, known or event_id)
        if _bytes(record) != _bytes(expected):
            raise BrokenPromiseError(f"{kind} got {record}, and {expected} was accepted")
    if server.changed:
        raise BrokenPromiseError(f"{kind} got one event in two ways: {server.changed[0]}")
    return len(ids)


def check_dead(book: Book, kind: str, dead: Iterable[Event], arrived: ProviderServer) -> None:
    """What was set aside is what a provider refuses, and what it refuses is set aside, unaltered."""
    found = {str(event.properties[_NUMBER]): event for event in dead}
    for number, event in found.items():
        sent = book.sent.get(number)
        if sent is None or not _is_refused(kind, sent):
            raise BrokenPromiseError(f"{kind} has set aside what it should not have: {event}")
        if (event.event_name, event.properties) != (sent.name, sent.properties):
            raise BrokenPromiseError(f"{kind} has set aside {event}, and {sent} was accepted")
    refused = {one.number for one in book.acknowledged if _is_refused(kind, one)}
    there = {number for number, _, _ in _arrived(kind, arrived)}
    if lost := refused - found.keys() - there:
        raise BrokenPromiseError(f"{kind} refused {len(lost)} events that are not set aside: {sorted(lost)[:5]}")


def _is_refused(kind: str, sent: Sent) -> bool:
    return kind == "mixpanel" and sent.name == BAD_NAME


def _arrived(kind: str, server: ProviderServer) -> Iterator[tuple[str, str, Json]]:
    """Number, id and record of each event that a provider took. A profile has no id with Mixpanel."""
    for event_id, record in server.events_by_insert_id.items():
        yield str(_properties(kind, record).get(_NUMBER)), event_id, record
    if kind == "mixpanel":
        for user, profile in server.profiles.items():
            yield str(profile.get(_NUMBER)), user, {"$distinct_id": user, "$set": profile}


def _properties(kind: str, record: Json) -> Json:
    if kind == "amplitude":
        found: Json = record.get("event_properties") or record["user_properties"]["$set"]
        return found
    return dict(record["properties"])


def _expected(kind: str, sent: Sent, event_id: str) -> Json:
    """The record that a provider should get."""
    request, properties, user = sent.request, sent.properties, sent.request.user_id
    if kind == "mixpanel":
        if not sent.is_track:
            return {"$distinct_id": user, "$set": properties}
        own = {"time": request.timestamp_ms, "$insert_id": event_id, "distinct_id": user, "$user_id": user, "ip": "0"}
        return {"event": sent.name, "properties": properties | own}
    if kind == "amplitude":
        what = {"event_properties": properties} if sent.is_track else {"user_properties": {"$set": properties}}
        head = {"event_type": sent.name or "$identify", "time": request.timestamp_ms, "insert_id": event_id}
        return {**head, "user_id": user, **what}
    return {
        "event_id": event_id,
        "type": "track" if sent.is_track else "identify",
        "event_name": sent.name,
        "user_id": user,
        "anonymous_id": "",
        "properties": properties,
        "timestamp_ms": request.timestamp_ms,
    }


def _bytes(record: Json) -> bytes:
    # When it was received is told to webhooks, and not to the caller; that it stays the same is ``changed``'s to say.
    told = {name: value for name, value in record.items() if name != "received_at_ms"}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
