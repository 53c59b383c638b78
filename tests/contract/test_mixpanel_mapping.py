"""Each field that Mixpanel gets (providers.md 2.2, 2.3)."""

import base64
import gzip
from typing import Any

import orjson
import pytest

from spoold.providers.base import Encoded, ProviderSettings, Stamp, Unsendable
from spoold.providers.mixpanel import KIND, Mixpanel
from spoold.providers.placeholders import FORBIDDEN_BY_MIXPANEL
from spoold.record import Event
from tests.support.events import EVENT_ID, TIME_MS, make_event, make_identify

STAMP = Stamp(0, "")
MIXPANEL = Mixpanel(ProviderSettings("https://mp.example/base/", "tok"))


def records(event: Event) -> list[dict[str, Any]]:
    encoded = MIXPANEL.encode(event)
    assert isinstance(encoded, Encoded)
    return [orjson.loads(part) for part in encoded.parts]


def properties(**overrides: Any) -> dict[str, Any]:
    (record,) = records(make_event(**overrides))
    sent: dict[str, Any] = record["properties"]
    return sent


def test_a_track_event_maps_field_by_field() -> None:
    assert records(make_event(properties={"amount": 12.5, "coupon": None})) == [
        {
            "event": "Order Paid",
            "properties": {
                "amount": 12.5,
                "coupon": None,
                "time": TIME_MS,
                "distinct_id": "u-81",
                "$user_id": "u-81",
                "$insert_id": EVENT_ID,
                "ip": "0",
            },
        }
    ]


def test_time_is_whole_milliseconds() -> None:
    assert b'"time":1795470000123' in encoded_bytes(make_event())


def encoded_bytes(event: Event) -> bytes:
    encoded = MIXPANEL.encode(event)
    assert isinstance(encoded, Encoded)
    return b"".join(encoded.parts)


@pytest.mark.parametrize(
    ("user_id", "anonymous_id", "expected"),
    [
        ("u-81", "", {"distinct_id": "u-81", "$user_id": "u-81"}),
        ("u-81", "d-4", {"distinct_id": "u-81", "$user_id": "u-81", "$device_id": "d-4"}),
        ("", "d-4", {"distinct_id": "$device:d-4", "$device_id": "d-4"}),
        ("", "", {"distinct_id": ""}),
        ("null", "d-4", {"distinct_id": "$device:d-4", "$device_id": "d-4"}),
        ("u-81", "Undefined", {"distinct_id": "u-81", "$user_id": "u-81"}),
        ("ANONYMOUS", "-1", {"distinct_id": ""}),
    ],
)
def test_who_it_was(user_id: str, anonymous_id: str, expected: dict[str, str]) -> None:
    sent = properties(user_id=user_id, anonymous_id=anonymous_id)
    assert {key: sent[key] for key in ("distinct_id", "$user_id", "$device_id") if key in sent} == expected


@pytest.mark.parametrize("placeholder", sorted(FORBIDDEN_BY_MIXPANEL))
def test_every_placeholder_counts_as_nobody_in_any_case(placeholder: str) -> None:
    for spelled in (placeholder, placeholder.upper(), placeholder.title()):
        sent = properties(user_id=spelled, anonymous_id=spelled)
        assert sent["distinct_id"] == ""
        assert not sent.keys() & {"$user_id", "$device_id"}


def test_a_callers_property_never_replaces_what_deduplication_compares() -> None:
    fake = dict.fromkeys(("time", "distinct_id", "$insert_id", "$user_id", "$device_id", "token"), "forged")
    assert properties(user_id="", properties=fake) == {
        "time": TIME_MS,
        "distinct_id": "",
        "$insert_id": EVENT_ID,
        "ip": "0",
    }


@pytest.mark.parametrize(("given", "sent"), [("203.0.113.7", "203.0.113.7"), (None, "0"), ("", "0")])
def test_the_callers_ip_is_kept_and_ours_never_used(given: str | None, sent: str) -> None:
    assert properties(properties={"ip": given})["ip"] == sent


def test_identify_sets_values_and_unsets_nulls_in_two_records() -> None:
    head = {"$token": "tok", "$distinct_id": "u-81", "$ip": "0"}
    assert records(make_identify(properties={"plan": "pro", "zip": None, "coupon": None})) == [
        {**head, "$set": {"plan": "pro"}},
        {**head, "$unset": ["coupon", "zip"]},
    ]


def test_identify_without_properties_sets_nothing_and_so_makes_the_profile() -> None:
    assert [record["$set"] for record in records(make_identify(properties={}))] == [{}]


def test_identify_with_nulls_alone_only_unsets() -> None:
    (record,) = records(make_identify(properties={"coupon": None}))
    assert record["$unset"] == ["coupon"]
    assert "$set" not in record


def test_identify_of_a_placeholder_goes_to_the_device() -> None:
    (record,) = records(make_identify(user_id="N/A", anonymous_id="d-4"))
    assert record["$distinct_id"] == "$device:d-4"


@pytest.mark.parametrize("anonymous_id", ["", "none"])
def test_identify_of_nobody_is_unsendable_and_says_why(anonymous_id: str) -> None:
    outcome = MIXPANEL.encode(make_identify(user_id="null", anonymous_id=anonymous_id))
    assert outcome == Unsendable("user id 'null' is a placeholder that Mixpanel refuses")


def test_events_go_before_profiles() -> None:
    assert list(MIXPANEL.routes) == ["import", "engage"]


def test_import_is_a_gzipped_array_with_the_token_as_basic_user() -> None:
    request = MIXPANEL.request("import", [b'{"a":1}', b'{"b":2}'], STAMP)
    assert request.url == "https://mp.example/base/import?strict=1"
    assert gzip.decompress(request.body) == b'[{"a":1},{"b":2}]'
    assert request.headers == {
        "Authorization": "Basic " + base64.b64encode(b"tok:").decode(),
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }


def test_the_gzip_header_holds_no_time() -> None:
    assert MIXPANEL.request("import", [b"{}"], STAMP).body[4:8] == bytes(4)


def test_engage_is_a_plain_array_without_a_credential_outside_the_records() -> None:
    request = MIXPANEL.request("engage", [b'{"a":1}', b'{"b":2}'], STAMP)
    assert request.url == "https://mp.example/base/engage?verbose=1&strict=1&ip=0"
    assert request.body == b'[{"a":1},{"b":2}]'
    assert request.headers == {"Content-Type": "application/json"}


def test_the_default_is_the_us_host() -> None:
    assert (
        KIND.build(ProviderSettings(KIND.endpoint, "tok")).request("import", [], STAMP).url
        == "https://api.mixpanel.com/import?strict=1"
    )


def test_a_token_of_any_characters_makes_a_clean_header() -> None:
    request = Mixpanel(ProviderSettings(KIND.endpoint, "tök\r\nX-Evil: 1")).request("import", [], STAMP)
    assert request.headers["Authorization"].isascii()
    assert request.headers["Authorization"].isprintable()
