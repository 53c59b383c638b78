"""An event as an application means it, before anybody's SDK, and its way through spoold to a provider's request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from spoold.api.analytics.v1 import service_pb2
from spoold.clock import SystemClock
from spoold.providers.base import Delivered, Encoded, Provider, Stamp, Unsendable
from spoold.providers.http import HttpTransport
from spoold.record import Draft, Event, Kind, decode_record, encode_record
from tests.support.events import EVENT_ID, TIME_MS

#: Where the caller names no id, the spool makes one.
SPOOLS_ID = "0199c2f0-7a00-7000-8000-00000000002b"
#: Where the caller names no time, it is that of receipt.
RECEIVED_MS = TIME_MS + 1000


@dataclass(frozen=True)
class Logical:
    """What happened.

    Attributes:
        event_id: Empty: everybody makes their own.
        timestamp_ms: 0: now.
    """

    name: str = "Order Paid"
    user_id: str = "u-8100"
    anonymous_id: str = ""
    properties: Mapping[str, object] = field(default_factory=dict)
    event_id: str = EVENT_ID
    timestamp_ms: int = TIME_MS
    kind: Kind = "track"

    @property
    def values(self) -> dict[str, object]:
        """The properties that are not null: what an identify sets."""
        return {name: value for name, value in self.properties.items() if value is not None}

    @property
    def nulls(self) -> list[str]:
        """The properties that are null, sorted: what an identify unsets."""
        return sorted(name for name, value in self.properties.items() if value is None)

    @property
    def our_id(self) -> str:
        """The id under which spoold sends it."""
        return self.event_id or SPOOLS_ID

    @property
    def our_time_ms(self) -> int:
        """The time with which spoold sends it."""
        return self.timestamp_ms or RECEIVED_MS


def identify(**fields: Any) -> Logical:
    """An identify event."""
    return Logical(kind="identify", name="", **fields)


def as_event(logical: Logical) -> Event:
    """``logical`` as a provider gets it: called, stored and read again."""
    properties = {name: _property(value) for name, value in logical.properties.items()}
    request: service_pb2.TrackEventRequest | service_pb2.IdentifyUserRequest
    if logical.kind == "track":
        request = service_pb2.TrackEventRequest(event_name=logical.name, properties=properties)
    else:
        request = service_pb2.IdentifyUserRequest(properties=properties)
    request.user_id = logical.user_id
    request.anonymous_id = logical.anonymous_id
    request.timestamp_ms = logical.timestamp_ms
    request.event_id = logical.event_id
    draft = Draft(logical.kind, request.SerializeToString())
    return decode_record(1, encode_record(draft, UUID(logical.our_id).bytes, RECEIVED_MS))


def encoded(provider: Provider, logical: Logical) -> Encoded | Unsendable:
    """``logical`` in the provider's JSON."""
    return provider.encode(as_event(logical))


def post(provider: Provider, route: str, parts: Sequence[bytes]) -> None:
    """Send ``parts`` over real HTTP, and see that the answer is a success."""
    clock = SystemClock()
    transport = HttpTransport(clock=clock)
    try:
        reply = transport.post(provider.request(route, parts, Stamp(clock.wall_ms(), "0" * 32)))
    finally:
        transport.close()
    assert provider.read_reply(route, parts, reply) == Delivered()


def _property(value: object) -> service_pb2.PropertyValue:
    match value:
        case None:
            return service_pb2.PropertyValue()
        case bool():
            return service_pb2.PropertyValue(bool_value=value)
        case int() | float():
            return service_pb2.PropertyValue(number_value=value)
        case str():
            return service_pb2.PropertyValue(string_value=value)
        case list():
            return service_pb2.PropertyValue(list_value=service_pb2.ListValue(values=map(_property, value)))
        case dict():
            fields = {name: _property(inner) for name, inner in value.items()}
            return service_pb2.PropertyValue(map_value=service_pb2.MapValue(fields=fields))
    raise TypeError(f"no property value: {value!r}")
