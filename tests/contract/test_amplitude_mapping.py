"""Each field that Amplitude gets (providers.md 3.2, 3.3)."""

import gzip
from typing import Any

import orjson
import pytest

from spoold.providers.amplitude import KIND, Amplitude
from spoold.providers.base import Encoded, ProviderSettings, Stamp, Unsendable
from spoold.providers.placeholders import FORBIDDEN_BY_AMPLITUDE
from spoold.record import Event
from tests.support.amplitude_rules import event_refusal
from tests.support.events import EVENT_ID, TIME_MS, make_event, make_identify

STAMP = Stamp(1_795_470_600_007, "")
AMPLITUDE = Amplitude(ProviderSettings("https://amp.example/base/", "key"))
BATCH = Amplitude(ProviderSettings("https://amp.example/base/", "key", {"api": "batch"}))


def encoded(event: Event) -> Encoded:
    result = AMPLITUDE.encode(event)
    assert isinstance(result, Encoded)
    return result


def sent(event: Event) -> dict[str, Any]:
    (part,) = encoded(event).parts
    fields: dict[str, Any] = orjson.loads(part)
    assert event_refusal(fields) is None
    return fields


def test_a_track_event_maps_field_by_field() -> None:
    assert sent(make_event(anonymous_id="d-4", properties={"amount": 12.5, "coupon": None})) == {
        "event_type": "Order Paid",
        "user_id": "u-81",
        "device_id": "d-4",
        "time": TIME_MS,
        "insert_id": EVENT_ID,
        "event_properties": {"amount": 12.5, "coupon": None},
    }


def test_an_event_without_properties_says_so() -> None:
    assert sent(make_event(properties={}))["event_properties"] == {}


def test_time_is_whole_milliseconds() -> None:
    assert b'"time":1795470000123' in encoded(make_event()).parts[0]


@pytest.mark.parametrize(
    ("user_id", "anonymous_id", "expected"),
    [
        ("u-81", "", {"user_id": "u-81"}),
        ("u-81", "d-4", {"user_id": "u-81", "device_id": "d-4"}),
        ("7", "", {"user_id": "7"}),
        ("", "d-4", {"device_id": "d-4"}),
        ("null", "d-4", {"device_id": "d-4"}),
        ("u-81", "Undefined", {"user_id": "u-81"}),
        ("", "", {"device_id": EVENT_ID}),
        ("ANONYMOUS", "-1", {"device_id": EVENT_ID}),
        ("anon", "true", {"user_id": "anon", "device_id": "true"}),
    ],
)
def test_who_it_was(user_id: str, anonymous_id: str, expected: dict[str, str]) -> None:
    fields = sent(make_event(user_id=user_id, anonymous_id=anonymous_id))
    assert {key: fields[key] for key in ("user_id", "device_id") if key in fields} == expected


@pytest.mark.parametrize("placeholder", sorted(FORBIDDEN_BY_AMPLITUDE))
def test_every_placeholder_counts_as_nobody_in_any_case(placeholder: str) -> None:
    for spelled in (placeholder, placeholder.upper(), placeholder.title()):
        fields = sent(make_event(user_id=spelled, anonymous_id=spelled))
        assert fields["device_id"] == EVENT_ID
        assert "user_id" not in fields


def test_two_events_of_nobody_are_of_two_devices() -> None:
    other = "0199c2f0-7a00-7000-8000-00000000002b"
    nobodies = [sent(make_event(event_id=event_id, user_id="")) for event_id in (EVENT_ID, other)]
    assert [fields["device_id"] for fields in nobodies] == [EVENT_ID, other]


@pytest.mark.parametrize(
    "name", ["ip", "revenue", "price", "quantity", "country", "session_id", "time", "user_id", "insert_id", "library"]
)
def test_no_property_of_the_caller_leaves_its_place(name: str) -> None:
    plain = sent(make_event(properties={}))
    assert sent(make_event(properties={name: "x"})) == {**plain, "event_properties": {name: "x"}}


def test_a_reserved_name_is_amplitudes_to_judge() -> None:
    assert sent(make_event(event_name="[Amplitude] Page Viewed"))["event_type"] == "[Amplitude] Page Viewed"


@pytest.mark.parametrize("name", ["$identify", "$groupidentify"])
def test_a_track_event_named_like_a_command_is_unsendable(name: str) -> None:
    outcome = AMPLITUDE.encode(make_event(event_name=name))
    assert isinstance(outcome, Unsendable)
    assert repr(name) in outcome.reason


def test_identify_sets_values_and_unsets_nulls_in_one_event() -> None:
    assert sent(make_identify(properties={"plan": "pro", "zip": None, "coupon": None})) == {
        "event_type": "$identify",
        "user_id": "u-81",
        "time": TIME_MS,
        "insert_id": EVENT_ID,
        "user_properties": {"$set": {"plan": "pro"}, "$unset": {"coupon": "-", "zip": "-"}},
    }


@pytest.mark.parametrize(
    ("properties", "operations"),
    [
        ({}, {"$set": {}}),
        ({"coupon": None}, {"$unset": {"coupon": "-"}}),
        ({"$unset": "x", "deep": [None]}, {"$set": {"$unset": "x", "deep": [None]}}),
    ],
)
def test_an_operator_stands_only_where_it_has_something_to_do(
    properties: dict[str, object], operations: dict[str, object]
) -> None:
    assert sent(make_identify(properties=properties))["user_properties"] == operations


def test_a_profile_keeps_its_place_among_the_events() -> None:
    assert encoded(make_identify()).in_order
    assert not encoded(make_event()).in_order


def test_identify_of_a_placeholder_goes_to_the_device() -> None:
    fields = sent(make_identify(user_id="N/A", anonymous_id="d-4"))
    assert fields["device_id"] == "d-4"
    assert "user_id" not in fields


@pytest.mark.parametrize("anonymous_id", ["", "none"])
def test_identify_of_nobody_is_unsendable_and_says_why(anonymous_id: str) -> None:
    outcome = AMPLITUDE.encode(make_identify(user_id="null", anonymous_id=anonymous_id))
    assert outcome == Unsendable("user id 'null' is a placeholder that Amplitude refuses")


def test_the_body_has_key_options_and_the_time_of_this_attempt_around_the_events() -> None:
    request = AMPLITUDE.request("httpapi", [b'{"a":1}', b'{"b":2}'], STAMP)
    assert request.url == "https://amp.example/base/2/httpapi"
    assert orjson.loads(gzip.decompress(request.body)) == {
        "api_key": "key",
        "options": {"min_id_length": 1},
        "client_upload_time": "2026-11-23T21:50:00.007Z",
        "events": [{"a": 1}, {"b": 2}],
    }
    assert request.headers == {"Content-Type": "application/json", "Content-Encoding": "gzip"}


def test_the_gzip_header_holds_no_time() -> None:
    assert AMPLITUDE.request("httpapi", [b"{}"], STAMP).body[4:8] == bytes(4)


def test_the_option_api_says_which_endpoint_with_its_limits() -> None:
    assert BATCH.request("batch", [], STAMP).url == "https://amp.example/base/batch"
    assert AMPLITUDE.routes["httpapi"].max_body_bytes < 1_000_000
    assert 19_000_000 < BATCH.routes["batch"].max_body_bytes < 20_000_000
    assert AMPLITUDE.routes["httpapi"].max_parts == BATCH.routes["batch"].max_parts == 2000


def test_an_event_too_large_for_httpapi_fits_batch() -> None:
    event = make_event(properties={"text": "x" * 1_000_000})
    assert isinstance(AMPLITUDE.encode(event), Unsendable)
    assert isinstance(BATCH.encode(event), Encoded)


def test_the_default_is_the_us_host_and_europe_has_a_name() -> None:
    assert KIND.endpoint == KIND.regions["us"] == "https://api2.amplitude.com"
    assert KIND.regions["eu"] == "https://api.eu.amplitude.com"
    assert KIND.options["api"].choices == ("httpapi", "batch")


def test_a_key_of_any_characters_makes_a_whole_body() -> None:
    request = Amplitude(ProviderSettings(KIND.endpoint, 'k"ë\n')).request("httpapi", [], STAMP)
    assert orjson.loads(gzip.decompress(request.body))["api_key"] == 'k"ë\n'
