"""What the official SDK sends to Segment for an event, and what we send for the same one: each difference by name."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from segment.analytics.client import Client

from spoold.providers.base import ProviderSettings, Unsendable
from spoold.providers.segment import KIND
from tests.sdk.callers import CREDENTIAL, call_segment
from tests.sdk.comparing import ABSENT, UUID4, Difference, Found, Like, check, check_envelopes, numbers, text
from tests.sdk.logical import Logical, encoded, identify
from tests.sdk.randomly import PROFILES, TRACKS, random_identifies, random_tracks
from tests.sdk.recorder import Recorded
from tests.sdk.wire import Case, Wire, encode, exchange

#: ``2026-11-20T10:00:00.123``.
MILLISECONDS = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}"


def library(_event: Logical) -> Found:
    where = (0, "context", "library")
    return {
        (*where, "name"): ('"analytics-python"', '"spoold"'),
        (*where, "version"): (Like(r'"2\.[\d.]+"'), '"1"'),
    }


def integrations(_event: Logical) -> Found:
    return {(0, "integrations"): ("{}", ABSENT)}


def missing_id(event: Logical) -> Found:
    ids = {"userId": event.user_id, "anonymousId": event.anonymous_id}
    return {(0, name): ("null", ABSENT) for name, value in ids.items() if not value}


def message_id(event: Logical) -> Found:
    return {} if event.event_id else {(0, "messageId"): (UUID4, text(event.our_id))}


def timestamp(event: Logical) -> Found:
    moment = written(event.our_time_ms)
    sdk = f'"{moment}+00:00"' if event.timestamp_ms else Like(rf'"{MILLISECONDS}\+00:00"')
    return {(0, "timestamp"): (sdk, f'"{moment}Z"')}


def written(moment_ms: int) -> str:
    """The moment to the millisecond, by the SDK's own way of writing it."""
    client = Client(CREDENTIAL, send=False)
    return str(call_segment(client, Logical(timestamp_ms=moment_ms))["timestamp"]).removesuffix("+00:00")


def number(event: Logical) -> Found:
    return numbers(event.properties, (0, "properties" if event.kind == "track" else "traits"))


DIFFERENCES = {
    "library": Difference(
        "each its own name; our version is a constant, so that an event stays (1.1, 2; 4.2)", library
    ),
    "integrations": Difference("optional; the SDK's {} says nothing (4.2, 7.2 Extras)", integrations),
    "missing id": Difference("explicit null; we leave the key out, as the Node SDK does (7.2)", missing_id),
    "message id": Difference("made at random per call; ours is the event's frozen id (1.1, 1 and 2)", message_id),
    "timestamp": Difference(
        "+00:00 and Z are the same offset (7.2; RFC 3339, 4.3); without one, of receipt", timestamp
    ),
    "number": Difference("the contract carries doubles: 42.0 is 42, beyond 2^53 the nearest (RFC 8259, 6)", number),
}

ALWAYS = {"library", "integrations", "timestamp"}
ONE_ID = ALWAYS | {"missing id"}

CASES = {
    "user": Case(Logical(properties={"plan": "pro"}), ONE_ID),
    "user and device": Case(Logical(anonymous_id="d-4f2a9"), ALWAYS),
    "device": Case(Logical(user_id="", anonymous_id="d-4f2a9"), ONE_ID),
    "now, no id": Case(Logical(timestamp_ms=0, event_id=""), ONE_ID | {"message id"}),
    "long ago": Case(Logical(timestamp_ms=86_400_001), ONE_ID),
    "whole second": Case(Logical(timestamp_ms=1_795_470_000_000), ONE_ID),
    "nested": Case(Logical(properties={"a": {"b": [1, {"c": None}, ["x", None]]}, "e": {}, "l": []}), ONE_ID),
    "null": Case(Logical(properties={"coupon": None}), ONE_ID),
    "unicode": Case(Logical(name="Köp 🛒", user_id="ü-Ω", properties={"naïve \u0000\u2028": '"\\/é\x7f😀'}), ONE_ID),
    "numbers": Case(
        Logical(properties={"i": 42, "n": -7, "f": 12.5, "t": True, "z": 0, "e": 1e300, "s": 5e-324}), ONE_ID
    ),
    "whole and huge numbers": Case(
        Logical(properties={"w": 42.0, "z": -0.0, "h": 2**53 + 1, "l": [1.0, 2**63]}), ONE_ID | {"number"}
    ),
    "long string": Case(Logical(properties={"text": "x" * 31_000}), ONE_ID),
    "special names": Case(
        Logical(
            properties={
                "time": "noon", "timestamp": "x", "userId": "y", "anonymousId": "z", "messageId": "m", "type": "page",
                "context": {"ip": "203.0.113.7"}, "ip": "203.0.113.7", "$insert_id": "a", "token": "c", "sentAt": "d",
            }
        ),
        ONE_ID,
    ),
    "money": Case(Logical(properties={"revenue": 9.99, "currency": "SEK", "products": [{"price": 1}]}), ONE_ID),
    "placeholder user": Case(Logical(user_id="null"), ONE_ID),
    "identify": Case(identify(properties={"plan": "pro", "seats": 3, "tags": ["a", None], "o": {"p": None}}), ONE_ID),
    "identify and unset": Case(identify(properties={"plan": "pro", "coupon": None}), ONE_ID),
    "identify without properties": Case(identify(), ONE_ID),
    "identify with a device": Case(identify(anonymous_id="d-4f2a9", properties={"age": 42.0}), ALWAYS | {"number"}),
}  # fmt: skip

#: What the SDK refuses and we send, with what we add to make it acceptable.
REFUSED: dict[str, tuple[Logical, dict[str, object]]] = {
    # An event without any id gets 200 and is dropped (4.4), so each has somebody of its own.
    "nobody": (Logical(user_id=""), {"anonymousId": Logical().our_id}),
    # The SDK counts each é as six bytes, as it writes it; in UTF-8 the event is within the 32 KB (4.3).
    "20 000 bytes of UTF-8": (Logical(properties={"text": "é" * 10_000}), {}),
}


def test_every_difference_has_a_case() -> None:
    assert set().union(*(case.names for case in CASES.values())) == DIFFERENCES.keys()


@pytest.fixture(scope="module")
def wire() -> dict[str, Wire]:
    """Everything sent once, by both."""
    events = {name: case.event for name, case in CASES.items()} | {name: event for name, (event, _) in REFUSED.items()}
    return exchange("segment", KIND, events, records)


def records(request: Recorded) -> list[object]:
    return list(body(request)["batch"])


def body(request: Recorded) -> Mapping[str, Any]:
    said = request.json
    assert isinstance(said, dict)
    return said


@pytest.mark.parametrize("name", CASES)
def test_the_records_differ_as_named(wire: dict[str, Wire], name: str) -> None:
    event, names = CASES[name]
    assert check(DIFFERENCES, event, wire[name].sdk, wire[name].ours) == names


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_sdk_refuses_is_sent(wire: dict[str, Wire], name: str) -> None:
    assert wire[name].is_refused
    (record,) = wire[name].ours
    assert isinstance(record, dict)
    _event, added = REFUSED[name]
    assert {**record, **added} == record


def test_what_is_larger_than_segment_takes_is_refused_by_both() -> None:
    event = Logical(properties={"text": "x" * 33_000})
    assert isinstance(encoded(KIND.build(ProviderSettings(KIND.endpoint, CREDENTIAL)), event), Unsendable)
    with pytest.raises(RuntimeError, match="limit"):
        call_segment(Client(CREDENTIAL, send=False), event)


#: Place, the SDK, we, and why. Path, key in header and body, and content type are the same.
ENVELOPE = (
    ("content-encoding", ABSENT, '"gzip"', "supported; an option of the SDK (4.1)"),
    ("user-agent", Like(r'"analytics-python/2\.[\d.]+"'), Like(r'"spoold/[\d.]+.*"'), "each its own name"),
    (
        "sentAt",
        Like(rf'"{MILLISECONDS}\d{{3}}\+00:00"'),
        Like(rf'"{MILLISECONDS}Z"'),
        "of this attempt in both; the SDK writes microseconds (4.2, 7.2 Timestamps)",
    ),
)


@pytest.mark.parametrize("name", ["user", "identify"])
def test_the_envelopes_differ_as_named(wire: dict[str, Wire], name: str) -> None:
    sent = wire[name]
    assert sent.sdk_request is not None
    check_envelopes(ENVELOPE, envelope(sent.sdk_request), envelope(sent.our_request))


def envelope(request: Recorded) -> dict[str, object]:
    return {**request.envelope, **{name: value for name, value in body(request).items() if name != "batch"}}


def compare(event: Logical) -> None:
    """The SDK's own switch: with ``send`` off it hands back what it would have queued."""
    assume(len(json.dumps(dict(event.properties))) < SURELY_SMALL_BYTES)
    sent = json.loads(json.dumps(call_segment(Client(CREDENTIAL, send=False), event)))
    check(DIFFERENCES, event, [sent], [json.loads(part) for part in encode(KIND, event).parts])


#: Both refuse what is too large, but count differently.
SURELY_SMALL_BYTES = 31_000
SPECIAL = ["time", "userId", "messageId", "context", "ip", "revenue", "$insert_id", "type"]


@TRACKS
@given(event=random_tracks(placeholders=["null", "anonymous", "0"], special=SPECIAL))
def test_random_events_differ_in_nothing_else(event: Logical) -> None:
    assume(event.user_id or event.anonymous_id)
    compare(event)


@PROFILES
@given(event=random_identifies(special=SPECIAL))
def test_random_profiles_differ_in_nothing_else(event: Logical) -> None:
    compare(event)
