"""The server refuses what Amplitude refuses, and drops what Segment drops: else the other tests prove nothing."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support import amplitude_rules, segment_rules
from tests.support.provider_server import ProviderServer

AMPLITUDE: dict[str, Any] = {
    "event_type": "Order Paid",
    "user_id": "u-81",
    "time": 1_700_000_000_123,
    "insert_id": "e1",
}
SEGMENT: dict[str, Any] = {
    "type": "track", "event": "Order Paid", "userId": "u-81", "timestamp": "2026-11-20T10:00:00.123Z", "messageId": "e1"
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


def post(server: ProviderServer, path: str, body: object, **headers: str) -> requests.Response:
    data = gzip.compress(body if isinstance(body, bytes) else json.dumps(body).encode())
    headers = {**headers, "Connection": "close", "Content-Encoding": "gzip"}
    return requests.post(server.url + path, data=data, headers=headers, timeout=10)


def amplitude(*events: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"api_key": "test-token", "options": {"min_id_length": 1}, "events": list(events), **changes}


def segment(*events: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"writeKey": "test-token", "sentAt": "2026-11-20T10:00:05.000Z", "batch": list(events), **changes}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event_type": ""}, "event_type"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 5}, "user_id"),
        *[({"user_id": value.upper(), "device_id": "d-4"}, "user_id") for value in amplitude_rules.FORBIDDEN_IDS],
        ({"device_id": "NULL"}, "device_id"),
        ({"time": "2026-11-20"}, "time"),
        ({"event_properties": []}, "event_properties"),
        ({"properties": {}}, "properties"),
        ({"event_type": "$identify"}, "user_properties"),
        ({"event_type": "$identify", "user_properties": {"$set": {}, "plan": "pro"}}, "user_properties"),
        ({"event_type": "$identify", "user_properties": {"$unset": {"plan": None}}}, "user_properties"),
    ],
)
def test_amplitude_refuses_a_bad_event_by_its_field(changes: dict[str, Any], field: str) -> None:
    refusal = amplitude_rules.event_refusal({**AMPLITUDE, **changes})
    assert refusal is not None
    assert refusal.field == field


def test_amplitude_takes_nothing_of_a_request_with_a_bad_event(server: ProviderServer) -> None:
    bad = {**AMPLITUDE, "time": 1.5}
    for path, indexes in (("/2/httpapi", [1]), ("/batch", [1, 2])):
        reply = post(server, path, amplitude(AMPLITUDE, bad, bad))
        assert reply.status_code == 400
        assert reply.json()["events_with_invalid_fields"] == {"time": indexes}
    assert server.event_count == 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "Invalid JSON request body"),
        (b"[]", 400, "Invalid JSON request body"),
        (amplitude(AMPLITUDE, api_key=""), 400, '"missing_field":"api_key"'),
        (amplitude(), 400, '"missing_field":"events"'),
        (amplitude(AMPLITUDE, api_key="other"), 400, "Invalid API key: other"),
        (amplitude(*[AMPLITUDE] * 2001), 413, "Payload too large"),
        (amplitude({**AMPLITUDE, "event_properties": {"a": "x" * 1_000_000}}), 413, "Payload too large"),
        (amplitude({**AMPLITUDE, "user_id": "u-81"}, options={}), 400, '"events_with_missing_fields":{"user_id":[0]}'),
    ],
)
def test_amplitude_refuses_a_bad_request(server: ProviderServer, body: object, status: int, words: str) -> None:
    reply = post(server, "/2/httpapi", body)
    assert reply.status_code == status
    assert words in reply.text


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "page"},
        {"event": ""},
        {"userId": ""},
        {"userId": None},
        {"messageId": "x" * 100},
        {"messageId": ""},
        {"timestamp": 1_700_000_000_123},
        {"timestamp": "2026-11-20T10:00:00"},
        {"traits": {}},
        {"properties": []},
    ],
)
def test_segment_drops_a_bad_event_without_a_word(server: ProviderServer, changes: dict[str, Any]) -> None:
    bad = {**SEGMENT, "messageId": "e2", **changes}
    assert segment_rules.event_refusal(SEGMENT) is None
    assert post(server, "/v1/batch", segment(SEGMENT, bad)).json() == {"success": True}
    assert server.events_by_insert_id.keys() == {"e1"}


@pytest.mark.parametrize(
    ("body", "status", "taken"),
    [
        (segment(SEGMENT), 200, 1),
        (segment(SEGMENT, writeKey="other-key"), 200, 0),
        (segment(SEGMENT, sentAt=None), 200, 0),
        (segment(*[SEGMENT] * 2501), 200, 0),
        (segment(SEGMENT, writeKey="abc"), 400, 0),
        (segment(SEGMENT, writeKey=None), 400, 0),
        (segment({**SEGMENT, "properties": {"a": "x" * 33_000}}), 400, 0),
        (segment(*[{**SEGMENT, "properties": {"a": "x" * 30_000}}] * 17), 400, 0),
        (b"{", 400, 0),
        (b"[]", 400, 0),
    ],
)
def test_segment_says_400_to_the_grossest_alone(server: ProviderServer, body: object, status: int, taken: int) -> None:
    assert post(server, "/v1/batch", body).status_code == status
    assert server.event_count == taken


def test_segment_takes_the_key_from_the_header_too(server: ProviderServer) -> None:
    basic = "Basic dGVzdC10b2tlbjo="
    assert post(server, "/v1/batch", segment(SEGMENT, writeKey=None), Authorization=basic).status_code == 200
    assert server.event_count == 1
