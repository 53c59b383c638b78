"""What the official SDK sends to Amplitude for an event, and what we send for the same one: each difference by name."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config
from amplitude.event import is_validate_object, is_validate_properties
from amplitude.storage import Storage, StorageProvider
from hypothesis import assume, given

from spoold.providers.amplitude import KIND
from spoold.providers.base import ProviderSettings, Unsendable
from spoold.providers.placeholders import FORBIDDEN_BY_AMPLITUDE, usable_id
from tests.sdk.callers import CREDENTIAL, call_amplitude
from tests.sdk.comparing import (
    ABSENT,
    UUID4,
    Difference,
    Found,
    Like,
    Path,
    check,
    check_envelopes,
    leaves,
    numbers,
    text,
)
from tests.sdk.logical import Logical, as_event, encoded, identify
from tests.sdk.randomly import PROFILES, TRACKS, random_identifies, random_tracks
from tests.sdk.recorder import Recorded
from tests.sdk.wire import Case, Wire, encode, exchange

TRACK: Path = (0, "event_properties")
SET: Path = (0, "user_properties", "$set")
#: Most characters of a string, and most keys of an object, that the SDK sends (3.4).
MAX = 1024


def is_track(event: Logical) -> bool:
    return event.kind == "track"


def kept(event: Logical) -> tuple[Path, dict[str, object]]:
    """The properties that the SDK sends at all, and where."""
    if is_track(event):
        keeps = is_validate_object(event.properties) and len(event.values) <= MAX
        return TRACK, event.values if keeps else {}
    return SET, {name: value for name, value in event.values.items() if is_validate_properties(name, value)}


def library(_event: Logical) -> Found:
    return {(0, "library"): (Like(r'"amplitude-python/1\.[\d.]+"'), ABSENT)}


def insert_id(event: Logical) -> Found:
    return {} if event.event_id else {(0, "insert_id"): (UUID4, text(event.our_id))}


def now(event: Logical) -> Found:
    return {} if event.timestamp_ms else {(0, "time"): (Like(r"\d{13}"), text(event.our_time_ms))}


def placeholder(event: Logical) -> Found:
    if not is_track(event):
        return {}
    said = {"user_id": event.user_id, "device_id": event.anonymous_id}
    mine = {name: usable_id(value, FORBIDDEN_BY_AMPLITUDE) for name, value in said.items()}
    if not any(mine.values()):
        mine["device_id"] = event.our_id
    sides = {name: tuple(text(side) if side else ABSENT for side in (said[name], mine[name])) for name in said}
    return {(0, name): (sdk, ours) for name, (sdk, ours) in sides.items() if sdk != ours}


def null(event: Logical) -> Found:
    if not is_track(event) or not is_validate_object(event.properties):
        return {}
    return {(*TRACK, name): (ABSENT, "null") for name in event.nulls}


def number(event: Logical) -> Found:
    where, properties = kept(event)
    return numbers(properties, where)


def long_string(event: Logical) -> Found:
    where, properties = kept(event)
    return {
        place: (text(value[:MAX]), text(value))
        for place, value in leaves(properties, where)
        if isinstance(value, str) and len(value) > MAX
    }


def many_names(event: Logical) -> Found:
    if not is_track(event) or len(event.values) <= MAX:
        return {}
    return {(*TRACK, name): (ABSENT, text(value)) for name, value in event.values.items()}


def nested_list(event: Logical) -> Found:
    ours = as_event(event).properties
    if is_track(event):
        return {} if is_validate_object(event.properties) else {TRACK: (ABSENT, text(ours))}
    refused = {name: ours[name] for name in event.values.keys() - kept(event)[1].keys()}
    if refused.keys() == event.values.keys():
        # Nothing is left to set, so the SDK leaves the operation out.
        return {SET: (ABSENT, text(refused))} if refused else {}
    return {(*SET, name): (ABSENT, text(value)) for name, value in refused.items()}


DIFFERENCES = {
    "library": Difference("the SDK's own name and version, an optional field (providers.md 3.2)", library),
    "insert id": Difference("made at random per call; ours is the event's frozen id (1.1, 1 and 2)", insert_id),
    "now": Difference("the SDK's clock; ours is the time of receipt, frozen (1.1, 2)", now),
    "placeholder": Difference("sent as it is, which is a 400; Amplitude forbids these ids (1.1, 3)", placeholder),
    "null": Difference("the SDK removes nulls at the top and keeps nested ones; a null shows as '(none)' (3.2)", null),
    "number": Difference("the contract carries doubles: 42.0 is 42, beyond 2^53 the nearest (RFC 8259, 6)", number),
    "long string": Difference("cut by the SDK at 1024 characters; else Amplitude itself cuts (1.1, 4)", long_string),
    "many names": Difference("above 1024 the SDK sends none; Amplitude documents no limit (3.4)", many_names),
    "nested list": Difference(
        "the SDK drops what has a list or null in a list; 40 levels are taken (3.4)", nested_list
    ),
}

CASES = {
    "user": Case(Logical(properties={"plan": "pro"}), {"library"}),
    "user and device": Case(Logical(anonymous_id="d-4f2a9"), {"library"}),
    "device": Case(Logical(user_id="", anonymous_id="d-4f2a9"), {"library"}),
    "short id": Case(Logical(user_id="7"), {"library"}),
    "now, no id": Case(Logical(timestamp_ms=0, event_id=""), {"library", "insert id", "now"}),
    "long ago": Case(Logical(timestamp_ms=86_400_001), {"library"}),
    "nested": Case(Logical(properties={"a": {"b": [1, {"c": None}, "x"]}, "e": {}, "l": []}), {"library"}),
    "list in a list": Case(Logical(properties={"a": 1, "l": [["x"]]}), {"library", "nested list"}),
    "null in a list": Case(Logical(properties={"a": None, "l": {"m": [None]}}), {"library", "nested list"}),
    "null": Case(Logical(properties={"coupon": None, "deep": {"coupon": None}}), {"library", "null"}),
    "unicode": Case(
        Logical(name="Köp 🛒", user_id="ü-Ω-12", properties={"naïve \u0000\u2028": '"\\/é\x7f😀'}), {"library"}
    ),
    "numbers": Case(
        Logical(properties={"i": 42, "n": -7, "f": 12.5, "t": True, "z": 0, "e": 1e300, "s": 5e-324}), {"library"}
    ),
    "whole and huge numbers": Case(
        Logical(properties={"w": 42.0, "z": -0.0, "h": 2**53 + 1, "l": [1.0, 2**63]}), {"library", "number"}
    ),
    "1024 characters": Case(Logical(properties={"text": "é" * 1024}), {"library"}),
    "long strings": Case(
        Logical(properties={"text": "é" * 9_000, "deep": [{"s": "x" * 1025}]}), {"library", "long string"}
    ),
    "1025 names": Case(Logical(properties={f"p{number}": True for number in range(1025)}), {"library", "many names"}),
    "special names": Case(
        Logical(
            properties={
                "time": "noon", "user_id": "x", "device_id": "y", "insert_id": "z", "event_type": "$identify",
                "session_id": "-1", "ip": "203.0.113.7", "$insert_id": "a", "distinct_id": "b", "token": "c",
            }
        ),
        {"library"},
    ),
    "money and place": Case(
        Logical(properties={"revenue": 9.99, "price": 3, "quantity": "2", "$revenue": 1, "country": "SE"}), {"library"}
    ),
    "reserved event name": Case(Logical(name="[Amplitude] Page Viewed"), {"library"}),
    "placeholder user": Case(Logical(user_id="Anonymous"), {"library", "placeholder"}),
    "placeholder user with a device": Case(Logical(user_id="null", anonymous_id="d-4f2a9"), {"library", "placeholder"}),
    "identify": Case(identify(properties={"plan": "pro", "seats": 3, "tags": ["a"], "o": {"p": None}}), {"library"}),
    "identify and unset": Case(identify(properties={"plan": "pro", "coupon": None, "age": None}), {"library"}),
    "unset": Case(identify(properties={"coupon": None}), {"library"}),
    "identify with a device": Case(identify(anonymous_id="d-4f2a9", properties={"$set": "x", "ip": "y"}), {"library"}),
    "identify now": Case(
        identify(properties={"age": 42.0}, timestamp_ms=0, event_id=""), {"library", "number", "insert id", "now"}
    ),
    "identify with nested lists": Case(identify(properties={"a": 1, "l": [["x"]]}), {"library", "nested list"}),
    "identify and unset with nested lists": Case(
        identify(properties={"c": None, "l": [[1.0]]}), {"library", "nested list"}
    ),
    "identify with a long string": Case(identify(properties={"text": "é" * 1025}), {"library", "long string"}),
}  # fmt: skip

#: What the SDK refuses and we send, with what we add to make it acceptable.
REFUSED: dict[str, tuple[Logical, dict[str, object]]] = {
    # Neither id is invalid; a device of its own for each, since throttling is per device (3.3).
    "nobody": (Logical(user_id=""), {"device_id": Logical().our_id}),
    # Ours makes the user known, as at the other providers.
    "identify without properties": (identify(), {"user_properties": {"$set": {}}}),
}


def test_every_difference_has_a_case() -> None:
    assert set().union(*(case.names for case in CASES.values())) == DIFFERENCES.keys()


@pytest.fixture(scope="module")
def wire() -> dict[str, Wire]:
    """Everything sent once, by both."""
    events = {name: case.event for name, case in CASES.items()} | {name: event for name, (event, _) in REFUSED.items()}
    return exchange("amplitude", KIND, events, records)


def records(request: Recorded) -> list[object]:
    return list(body(request)["events"])


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


#: Place, the SDK, we, and why.
ENVELOPE = (
    ("content-type", '"application/json; charset=UTF-8"', '"application/json"', "JSON is UTF-8 (3.1; RFC 8259, 8.1)"),
    ("content-encoding", ABSENT, '"gzip"', "taken; the Python SDK does not (3.1)"),
    ("user-agent", Like(r'"Python-urllib/[\d.]+"'), Like(r'"spoold/[\d.]+.*"'), "each its own name"),
    ("options", ABSENT, '{"min_id_length": 1}', "short ids are ids; else they are stripped (3.3)"),
    ("client_upload_time", ABSENT, Like(r'"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'), "as the Node SDK does (3.2)"),
)


@pytest.mark.parametrize("name", ["user", "identify"])
def test_the_envelopes_differ_as_named(wire: dict[str, Wire], name: str) -> None:
    sent = wire[name]
    assert sent.sdk_request is not None
    check_envelopes(ENVELOPE, envelope(sent.sdk_request), envelope(sent.our_request))


def envelope(request: Recorded) -> dict[str, object]:
    return {**request.envelope, **{name: value for name, value in body(request).items() if name != "events"}}


@pytest.mark.parametrize("event", [identify(user_id="null"), Logical(name="$identify"), Logical(name="$groupidentify")])
def test_what_amplitude_would_not_keep_is_ours_to_refuse(event: Logical) -> None:
    """The SDK sends all three: a profile of nobody (1.1, 3), and events that Amplitude takes for commands (3.2)."""
    provider = KIND.build(ProviderSettings(KIND.endpoint, CREDENTIAL))
    assert isinstance(encoded(provider, event), Unsendable)


class Kept(Storage, StorageProvider):  # type: ignore[misc] # untyped
    """A storage, the SDK's own seam for what is to be sent: keeps it, and wakes no sender."""

    def __init__(self) -> None:
        self.events: list[BaseEvent] = []

    def get_storage(self) -> "Kept":
        return self

    def setup(self, _configuration: object, _workers: object) -> None:
        """Nothing to set up."""

    def push(self, event: BaseEvent) -> None:
        self.events.append(event)

    def pull(self, batch_size: int) -> list[BaseEvent]:
        del self.events[:batch_size]
        return []

    def pull_all(self) -> list[BaseEvent]:
        return self.pull(len(self.events))


@pytest.fixture(scope="module")
def sdk() -> tuple[Amplitude, Kept]:
    """One for all events: each client stays until the end of the process."""
    storage = Kept()
    return Amplitude(CREDENTIAL, Config(storage_provider=storage, logger=logging.getLogger("sdk"))), storage


def compare(sdk: tuple[Amplitude, Kept], event: Logical) -> None:
    client, storage = sdk
    storage.events.clear()
    call_amplitude(client, event)
    sent = [json.loads(json.dumps(made.get_event_body())) for made in storage.events]
    check(DIFFERENCES, event, sent, [json.loads(part) for part in encode(KIND, event).parts])


SPECIAL = ["time", "user_id", "revenue", "ip", "$insert_id", "$set", "$unset", "session_id"]


@TRACKS
@given(event=random_tracks(placeholders=sorted(FORBIDDEN_BY_AMPLITUDE), special=SPECIAL))
def test_random_events_differ_in_nothing_else(sdk: tuple[Amplitude, Kept], event: Logical) -> None:
    assume(event.user_id or event.anonymous_id)
    # We refuse them: they are commands, and no event would be kept.
    assume(event.name not in ("$identify", "$groupidentify"))
    compare(sdk, event)


@PROFILES
@given(event=random_identifies(special=SPECIAL))
def test_random_profiles_differ_in_nothing_else(sdk: tuple[Amplitude, Kept], event: Logical) -> None:
    assume(kept(event)[1] or event.nulls)
    compare(sdk, event)
