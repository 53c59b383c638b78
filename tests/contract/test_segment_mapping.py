"""Each field that Segment gets (providers.md 4.1, 4.2, 4.3)."""

import base64
import gzip
from typing import Any

import orjson
import pytest

from spoold.providers.base import Encoded, ProviderSettings, Stamp, Unsendable
from spoold.providers.segment import KIND, Segment
from spoold.record import Event
from tests.support.events import EVENT_ID, TIME_MS, make_event, make_identify
from tests.support.segment_rules import event_refusal

STAMP = Stamp(1_795_470_600_007, "")
SEGMENT = Segment(ProviderSettings("https://seg.example/base/", "key"))
CONTEXT = {"library": {"name": "spoold", "version": "1"}}


def encoded(event: Event) -> Encoded:
    result = SEGMENT.encode(event)
    assert isinstance(result, Encoded)
    return result


def sent(event: Event) -> dict[str, Any]:
    (part,) = encoded(event).parts
    fields: dict[str, Any] = orjson.loads(part)
    assert event_refusal(fields) is None
    return fields


def test_a_track_event_maps_field_by_field() -> None:
    assert sent(make_event(anonymous_id="d-4", properties={"amount": 12.5, "coupon": None})) == {
        "type": "track",
        "messageId": EVENT_ID,
        "userId": "u-81",
        "anonymousId": "d-4",
        "event": "Order Paid",
        "timestamp": "2026-11-23T21:40:00.123Z",
        "properties": {"amount": 12.5, "coupon": None},
        "context": CONTEXT,
    }


def test_an_identify_event_maps_field_by_field_and_a_null_trait_stays_to_remove_it() -> None:
    assert sent(make_identify(properties={"plan": "pro", "coupon": None})) == {
        "type": "identify",
        "messageId": EVENT_ID,
        "userId": "u-81",
        "timestamp": "2026-11-23T21:40:00.123Z",
        "traits": {"plan": "pro", "coupon": None},
        "context": CONTEXT,
    }


@pytest.mark.parametrize("make", [make_event, make_identify])
def test_an_event_without_properties_says_so(make: Any) -> None:
    fields = sent(make(properties={}))
    assert fields.get("properties", fields.get("traits")) == {}


@pytest.mark.parametrize(
    ("moment_ms", "text"),
    [
        (TIME_MS, "2026-11-23T21:40:00.123Z"),
        (1_795_470_000_000, "2026-11-23T21:40:00.000Z"),
        (1_795_470_000_999, "2026-11-23T21:40:00.999Z"),
        (1, "1970-01-01T00:00:00.001Z"),
    ],
)
def test_time_is_iso_8601_to_the_millisecond(moment_ms: int, text: str) -> None:
    assert sent(make_event(timestamp_ms=moment_ms))["timestamp"] == text


@pytest.mark.parametrize(
    ("user_id", "anonymous_id", "expected"),
    [
        ("u-81", "", {"userId": "u-81"}),
        ("u-81", "d-4", {"userId": "u-81", "anonymousId": "d-4"}),
        ("", "d-4", {"anonymousId": "d-4"}),
        ("", "", {"anonymousId": EVENT_ID}),
        ("null", "", {"userId": "null"}),
        ("anonymous", "-1", {"userId": "anonymous", "anonymousId": "-1"}),
    ],
)
def test_who_it_was(user_id: str, anonymous_id: str, expected: dict[str, str]) -> None:
    fields = sent(make_event(user_id=user_id, anonymous_id=anonymous_id))
    assert {key: fields[key] for key in ("userId", "anonymousId") if key in fields} == expected


def test_two_events_of_nobody_are_of_two() -> None:
    other = "0199c2f0-7a00-7000-8000-00000000002b"
    nobodies = [sent(make_event(event_id=event_id, user_id="")) for event_id in (EVENT_ID, other)]
    assert [fields["anonymousId"] for fields in nobodies] == [EVENT_ID, other]


@pytest.mark.parametrize("name", ["messageId", "userId", "timestamp", "type", "context", "event", "ip"])
def test_no_property_of_the_caller_leaves_its_place(name: str) -> None:
    plain = sent(make_event(properties={}))
    assert sent(make_event(properties={name: "x"})) == {**plain, "properties": {name: "x"}}


def test_a_profile_keeps_its_place_among_the_events() -> None:
    assert encoded(make_identify()).in_order
    assert not encoded(make_event()).in_order


def test_the_body_has_key_and_time_of_this_attempt_around_the_events() -> None:
    request = SEGMENT.request("batch", [b'{"a":1}', b'{"b":2}'], STAMP)
    assert request.url == "https://seg.example/base/v1/batch"
    assert orjson.loads(gzip.decompress(request.body)) == {
        "writeKey": "key",
        "sentAt": "2026-11-23T21:50:00.007Z",
        "batch": [{"a": 1}, {"b": 2}],
    }
    assert request.headers == {
        "Authorization": "Basic " + base64.b64encode(b"key:").decode(),
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }


def test_the_gzip_header_holds_no_time() -> None:
    assert SEGMENT.request("batch", [b"{}"], STAMP).body[4:8] == bytes(4)


def test_a_full_request_is_within_the_limit_with_all_that_stands_around() -> None:
    limits = SEGMENT.routes["batch"]
    parts = [b"x" * 999] * (limits.max_body_bytes // 1000)
    parts.append(b"x" * (limits.max_body_bytes - sum(map(len, parts)) - len(parts) - 2))
    body = gzip.decompress(SEGMENT.request("batch", parts, STAMP).body)
    assert 474_000 < len(body) <= 475_000
    assert limits.max_parts == 1000


@pytest.mark.parametrize("make", [make_event, make_identify])
def test_an_event_of_32000_bytes_is_the_largest(make: Any) -> None:
    room = 32_000 - len(encoded(make(properties={"text": ""})).parts[0])
    assert len(encoded(make(properties={"text": "x" * room})).parts[0]) == 32_000
    assert SEGMENT.encode(make(properties={"text": "x" * (room + 1)})) == Unsendable(
        "32001 bytes as JSON; Segment takes 32000 for one event"
    )


def test_the_default_is_the_us_host_and_europe_has_a_name() -> None:
    assert KIND.endpoint == KIND.regions["us"] == "https://api.segment.io"
    assert KIND.regions["eu"] == "https://events.eu1.segmentapis.com"
    assert KIND.credential == "write_key"


@pytest.mark.parametrize("key", ["a1B2" * 8, "a1B2" * 6, "1ofrrv7aAmE5cZ8c2yDQ0nB8fLk", "a1B2" * 10])
def test_a_key_that_may_be_one_is_not_doubted(key: str) -> None:
    assert KIND.doubt_credential(key) == ""


@pytest.mark.parametrize("key", ["a1B2" * 7 + "a1-2", "a1B2" * 7 + "a1B2\n", "short", "a1B2" * 11, "a1B2" * 7 + "a1B²"])
def test_a_key_that_can_be_none_is_doubted_without_being_told(key: str) -> None:
    doubt = KIND.doubt_credential(key)
    assert "does not look like a write key" in doubt
    assert key not in doubt


def test_a_key_of_any_characters_makes_a_clean_header_and_a_whole_body() -> None:
    request = Segment(ProviderSettings(KIND.endpoint, 'k"ë\r\nX-Evil: 1')).request("batch", [], STAMP)
    assert request.headers["Authorization"].isascii()
    assert request.headers["Authorization"].isprintable()
    assert orjson.loads(gzip.decompress(request.body))["writeKey"] == 'k"ë\r\nX-Evil: 1'
