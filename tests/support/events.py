"""Events as a caller sends them, as the journal stores them, and as a provider gets them."""

from typing import Any
from uuid import UUID

from spoold.api.analytics.v1 import service_pb2
from spoold.record import Draft, Event, encode_record
from tests.support.clock import START_MS

EVENT_ID = "0199c2f0-7a00-7000-8000-00000000002a"
TIME_MS = 1_795_470_000_123


def make_event(**overrides: Any) -> Event:
    """A track event of user u-81 unless told otherwise."""
    fields: dict[str, Any] = {
        "seq": 42,
        "event_id": EVENT_ID,
        "kind": "track",
        "event_name": "Order Paid",
        "user_id": "u-81",
        "anonymous_id": "",
        "properties": {"amount": 12.5},
        "timestamp_ms": TIME_MS,
        "received_at_ms": TIME_MS + 1000,
    }
    return Event(**{**fields, **overrides})


def make_identify(**overrides: Any) -> Event:
    """An identify event of user u-81 unless told otherwise."""
    return make_event(**{"kind": "identify", "event_name": "", "properties": {"plan": "pro"}, **overrides})


def make_draft(name: str = "Order Paid", *, event_id: bytes | None = None, caller_id: str = "", **fields: Any) -> Draft:
    """A valid track event of user u-81 on its way into the journal."""
    request = service_pb2.TrackEventRequest(event_name=name, **{"user_id": "u-81", **fields})
    return Draft("track", request.SerializeToString(deterministic=True), event_id, caller_id)


def make_identify_draft(user_id: str = "u-81", **fields: Any) -> Draft:
    """A valid identify event on its way into the journal."""
    request = service_pb2.IdentifyUserRequest(user_id=user_id, **fields)
    return Draft("identify", request.SerializeToString(deterministic=True))


def make_drafts(count: int, name: str = "Order Paid", **fields: Any) -> list[Draft]:
    """As many events, named "Order Paid 0", "Order Paid 1" and so on."""
    return [make_draft(f"{name} {number}", **fields) for number in range(count)]


def make_big_drafts(count: int, size: int = 20_000) -> list[Draft]:
    """Events of about ``size`` bytes each."""
    value = service_pb2.PropertyValue(string_value="x" * size)
    return make_drafts(count, properties={"text": value})


def make_record(**overrides: Any) -> bytes:
    """The stored bytes of ``make_draft()``."""
    fields = {"draft": make_draft(), "event_id": UUID(EVENT_ID).bytes, "received_at_ms": START_MS, **overrides}
    return encode_record(**fields)
