"""An event of each sort, and what each provider's own documents make of it (providers.md 2.2, 3.2, 4.2)."""

from typing import Any

from spoold.api.analytics.v1 import service_pb2
from tests.support.services import identified, tracked, values

Json = dict[str, Any]

_TIME_MS = 1_700_000_000_123
_TIME = "2023-11-14T22:13:20.123Z"
_IDS = [f"0b7c3b2e-52f0-4a86-9a55-4a2f6f4e9f1{number}" for number in range(4)]
_DEVICE = "device-4f2a9"
_PAID = {"amount": 12.5, "gift": None, "plan": "pro"}
_PROFILE = {"coupon": None, "plan": "pro"}


def one_of_each() -> list[service_pb2.BatchItem]:
    """A user's event, an anonymous one, nobody's, and a profile; with ids and a time of the caller's own."""
    when: Json = {"timestamp_ms": _TIME_MS}
    return [
        tracked("Order Paid", event_id=_IDS[0], properties=values(**_PAID), **when),
        tracked("Page Seen", "", anonymous_id=_DEVICE, event_id=_IDS[1], **when),
        tracked("Tick", "", event_id=_IDS[2], **when),
        identified(event_id=_IDS[3], properties=values(**_PROFILE), **when),
    ]


def records_of_each(kind: str, token: str) -> list[Json]:
    """All records that a provider of this kind gets, in order."""
    return {"mixpanel": _mixpanel, "amplitude": _amplitude, "segment": _segment, "webhook": _webhook}[kind](token)


def _mixpanel(token: str) -> list[Json]:
    head = {"$token": token, "$distinct_id": "u-81", "$ip": "0"}
    device = {"distinct_id": f"$device:{_DEVICE}", "$device_id": _DEVICE}
    owners: list[Json] = [{"distinct_id": "u-81", "$user_id": "u-81"} | _PAID, device, {"distinct_id": ""}]
    events = [
        {"event": name, "properties": {"time": _TIME_MS, "$insert_id": event_id, "ip": "0", **owner}}
        for name, event_id, owner in zip(("Order Paid", "Page Seen", "Tick"), _IDS, owners, strict=False)
    ]
    return [*events, head | {"$set": {"plan": "pro"}}, head | {"$unset": ["coupon"]}]


def _amplitude(_token: str) -> list[Json]:
    event_ids = [{"insert_id": event_id, "time": _TIME_MS} for event_id in _IDS]
    plan = {"$set": {"plan": "pro"}, "$unset": {"coupon": "-"}}
    return [
        {"event_type": "Order Paid", "user_id": "u-81", "event_properties": _PAID, **event_ids[0]},
        {"event_type": "Page Seen", "device_id": _DEVICE, "event_properties": {}, **event_ids[1]},
        {"event_type": "Tick", "device_id": _IDS[2], "event_properties": {}, **event_ids[2]},
        {"event_type": "$identify", "user_id": "u-81", "user_properties": plan, **event_ids[3]},
    ]


def _segment(_token: str) -> list[Json]:
    head = {"type": "track", "timestamp": _TIME, "context": {"library": {"name": "spoold", "version": "1"}}}
    return [
        {**head, "messageId": _IDS[0], "userId": "u-81", "event": "Order Paid", "properties": _PAID},
        {**head, "messageId": _IDS[1], "anonymousId": _DEVICE, "event": "Page Seen", "properties": {}},
        {**head, "messageId": _IDS[2], "anonymousId": _IDS[2], "event": "Tick", "properties": {}},
        {**head, "messageId": _IDS[3], "userId": "u-81", "traits": _PROFILE, "type": "identify"},
    ]


def _webhook(_token: str) -> list[Json]:
    nobody = {"user_id": "", "anonymous_id": "", "timestamp_ms": _TIME_MS, "type": "track", "properties": {}}
    return [
        {**nobody, "event_id": _IDS[0], "event_name": "Order Paid", "user_id": "u-81", "properties": _PAID},
        {**nobody, "event_id": _IDS[1], "event_name": "Page Seen", "anonymous_id": _DEVICE},
        {**nobody, "event_id": _IDS[2], "event_name": "Tick"},
        {
            **nobody,
            "event_id": _IDS[3],
            "event_name": "",
            "user_id": "u-81",
            "type": "identify",
            "properties": _PROFILE,
        },
    ]
