"""Events as a provider gets them."""

from typing import Any

from spoold.record import Event

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
