"""What every kind of provider must hold (spoold/providers/base.py): the built-in ones, or ``--kind`` (conftest.py)."""

import gzip
import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoold.clock import SystemClock
from spoold.config import LaneConfig
from spoold.providers.base import (
    Delivered,
    Encoded,
    HttpReply,
    HttpRequest,
    Kind,
    Option,
    Outcome,
    Provider,
    ProviderSettings,
    Retry,
    Split,
    Stamp,
    Stop,
    Unsendable,
)
from spoold.providers.http import MAX_REASON_CHARACTERS, HttpTransport, checked_url
from spoold.record import Event
from tests.support.events import TIME_MS, make_event, make_identify
from tests.support.provider_server import ProviderServer, Reply

#: Stands in replies for the credential that is in force.
SECRET = "S3CR3T-OF-THE-LANE"
PARTS = 5
STAMP = Stamp(TIME_MS, "0123456789abcdef" * 2)
LATER = Stamp(TIME_MS + 86_400_000, STAMP.batch_id)
OTHER_BATCH = Stamp(TIME_MS, "f" * 32)

names = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
events = st.builds(
    Event,
    seq=st.integers(1, 2**40),
    event_id=st.uuids().map(str),
    kind=st.sampled_from(["track", "identify"]),
    event_name=names,
    user_id=names | st.sampled_from(["NULL", "Anonymous", "-1"]),
    anonymous_id=names,
    properties=st.dictionaries(names | st.sampled_from(["time", "token", "ip", "$user_id"]), values, max_size=6),
    timestamp_ms=st.integers(0, 2**42),
    received_at_ms=st.integers(0, 2**42),
)

numbers = st.integers(-3, PARTS + 3) | st.floats() | st.integers() | st.booleans() | st.text(max_size=3) | st.none()
failed_records = st.lists(
    st.fixed_dictionaries(
        {}, optional={"index": numbers, "message": st.just(SECRET) | values, "field": values, "insert_id": values}
    )
    | values,
    max_size=8,
)
#: Amplitude's lists: positions by field, positions, and ids with a rate.
indexes = st.lists(st.integers(-1, PARTS) | st.integers(0, PARTS).map(str) | numbers, max_size=8)
by_field = st.dictionaries(st.just(SECRET) | names, indexes | values, max_size=3)
ids = st.dictionaries(st.just("u-81") | names, numbers, max_size=3) | st.lists(st.just("u-81") | values, max_size=3)
answers = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from([200, 400, 200.0, True]) | numbers,
        "status": st.sampled_from(["OK", 0, 1, True]) | numbers,
        "error": st.just(f"bad token {SECRET}") | values,
        "num_records_imported": numbers,
        "num_good_events": numbers,
        "failed_records": failed_records | values,
        "missing_field": st.just("api_key") | values,
        "events_ingested": numbers,
        "events_with_invalid_fields": by_field | values,
        "events_with_missing_fields": by_field | values,
        "events_with_invalid_id_lengths": by_field | values,
        "silenced_events": indexes | values,
        "throttled_events": indexes | values,
        "throttled_users": ids | values,
        "throttled_devices": ids | values,
        "exceeded_daily_quota_users": ids | values,
        "exceeded_daily_quota_devices": ids | values,
        "success": st.booleans() | values,
    },
)
#: Random answers seldom fit together; these do, or nearly.
likely_answers = st.fixed_dictionaries(
    {
        "code": st.sampled_from([200, 400]),
        "num_records_imported": st.integers(0, PARTS),
        "failed_records": st.lists(
            st.fixed_dictionaries(
                {"index": st.integers(-1, PARTS) | st.sampled_from([1.0, 1.5]), "message": st.just(SECRET) | names}
            ),
            max_size=3,
        ),
    }
)
bodies = (
    st.binary(max_size=200)
    | (likely_answers | answers).map(lambda answer: json.dumps(answer).encode())
    | st.sampled_from([b"", b"1", b"0", b"1e999", b"ok", b'{"code":1e400}', b"\xff\xfe"])
    | st.sampled_from([b"[", b'{"a":', b"9"]).map(lambda deep: deep * 50_000)
    | st.text(max_size=50).map(lambda text: f"<html>{text} {SECRET}</html>".encode())
)
statuses = st.sampled_from([200, 204, 301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503]) | st.integers(-1, 1000)
replies = st.builds(HttpReply, statuses, bodies, st.none() | st.floats(0, 4000))


@pytest.fixture(scope="module")
def provider(kind: Kind, lane_settings: ProviderSettings) -> Provider:
    return kind.build(lane_settings)


def encoded(provider: Provider, event: Event) -> Encoded:
    result = provider.encode(event)
    assert isinstance(result, Encoded)
    return result


def parts_of(provider: Provider, route: str, count: int = PARTS) -> list[bytes]:
    """Records as the provider writes them, for one of its routes."""
    results = [encoded(provider, event) for event in (make_event(), make_identify())]
    parts = [part for result in results if result.route == route for part in result.parts] or [b"{}"]
    return (parts * count)[:count]


def read(provider: Provider, route_number: int, reply: HttpReply, secret: str) -> Outcome:
    route = list(provider.routes)[route_number % len(provider.routes)]
    body = reply.body.replace(SECRET.encode(), secret.encode())
    return provider.read_reply(route, parts_of(provider, route), replace(reply, body=body))


def plain_body(request: HttpRequest) -> bytes:
    is_zipped = {name.lower(): value for name, value in request.headers.items()}.get("content-encoding") == "gzip"
    return gzip.decompress(request.body) if is_zipped else request.body


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Each plain value in a JSON value by its path."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for name, item in inner for key, leaf in leaves(item, f"{path}/{name}").items()}
    return {path: value}


def body_leaves(request: HttpRequest) -> dict[str, Any]:
    body = plain_body(request)
    try:
        return leaves(orjson.loads(body))
    except orjson.JSONDecodeError:
        return {"": body}


def fits(option: Option, value: object) -> bool:
    """Whether a lane's table could give ``value``."""
    if option.type == "string":
        return isinstance(value, str) and (not option.choices or value in option.choices)
    if option.type == "integer":
        low, high = option.bounds or (-math.inf, math.inf)
        return type(value) is int and low <= value <= high
    if option.type == "boolean":
        return isinstance(value, bool)
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


def test_the_endpoints_of_a_kind_are_base_urls(kind: Kind) -> None:
    for url in (*filter(None, [kind.endpoint]), *kind.regions.values()):
        assert checked_url(url, "endpoint") == url
    assert kind.endpoint or not kind.regions


def test_the_keys_of_a_kind_are_plain_words_that_no_lane_has_anyway(kind: Kind) -> None:
    taken = {str(field.validation_alias or name) for name, field in LaneConfig.model_fields.items()} - {"api_key"}
    for name in (*kind.options, kind.credential, *kind.regions):
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", name)
    assert not {*kind.options, kind.credential} & taken
    assert kind.credential not in kind.options


def test_the_default_of_an_option_is_a_value_that_it_may_have(kind: Kind) -> None:
    for name, option in kind.options.items():
        assert option.default is None or fits(option, option.default), name


def test_a_doubt_about_a_credential_is_a_sentence_without_it(kind: Kind, lane_settings: ProviderSettings) -> None:
    for credential in (lane_settings.credential, "x", "Ünïcode key", "x" * 5_000):
        doubt = kind.doubt_credential(credential)
        assert isinstance(doubt, str)
        assert len(credential) == 1 or credential not in doubt


def test_a_kind_that_needs_no_credential_is_built_without_one(kind: Kind, lane_settings: ProviderSettings) -> None:
    if kind.needs_credential:
        assert lane_settings.credential
    else:
        assert kind.build(replace(lane_settings, credential="")).routes


def test_requests_go_to_the_host_that_the_lane_names(kind: Kind, lane_settings: ProviderSettings) -> None:
    for url in ("http://127.0.0.1:8080/base", lane_settings.endpoint, *kind.regions.values()):
        provider = kind.build(replace(lane_settings, endpoint=url))
        for route in provider.routes:
            request = provider.request(route, parts_of(provider, route), STAMP)
            assert urlsplit(request.url)[:2] == urlsplit(url)[:2]


def test_limits_leave_room_for_an_event(provider: Provider) -> None:
    assert provider.routes
    for limits in provider.routes.values():
        assert limits.max_parts > 0
        assert limits.max_body_bytes > 0


@given(event=events)
def test_encoding_an_event_again_gives_the_same_bytes(provider: Provider, event: Event) -> None:
    assert provider.encode(event) == provider.encode(event)


@given(event=events)
def test_the_order_in_which_properties_came_does_not_matter(provider: Provider, event: Event) -> None:
    turned = dict(reversed(event.properties.items()))
    again = make_event(
        **{name: getattr(event, name) for name in Event.__slots__ if name != "properties"}, properties=turned
    )
    assert provider.encode(again) == provider.encode(event)


@given(event=events)
def test_every_part_is_one_json_object_for_a_known_route(provider: Provider, event: Event) -> None:
    result = provider.encode(event)
    if isinstance(result, Unsendable):
        assert result.reason
        return
    assert result.parts
    assert result.route in provider.routes
    assert len(result.parts) <= provider.routes[result.route].max_parts
    assert all(isinstance(orjson.loads(part), dict) for part in result.parts)


@given(event=events)
def test_encoding_leaves_the_event_as_it_was(provider: Provider, event: Event) -> None:
    before = orjson.dumps(event.properties)
    provider.encode(event)
    assert orjson.dumps(event.properties) == before


def test_the_same_parts_make_the_same_request_at_any_start(
    provider: Provider, kind: Kind, lane_settings: ProviderSettings
) -> None:
    restarted = kind.build(lane_settings)
    for route in provider.routes:
        parts = parts_of(provider, route)
        assert restarted.request(route, parts, STAMP) == provider.request(route, parts, STAMP)


def test_a_later_attempt_differs_in_nothing_but_what_tells_its_time(provider: Provider) -> None:
    for route in provider.routes:
        told = []
        for count in (1, PARTS):
            parts = parts_of(provider, route, count)
            first, later = (provider.request(route, parts, stamp) for stamp in (STAMP, LATER))
            assert (later.url, later.headers.keys()) == (first.url, first.headers.keys())
            before, after = body_leaves(first), body_leaves(later)
            assert before.keys() == after.keys()
            told.append({path for path in before if before[path] != after[path]})
        # Of the request, not of each event: those are frozen.
        assert told[0] == told[1]


def test_a_batch_is_named_only_where_its_events_stay_together(provider: Provider) -> None:
    for route, limits in provider.routes.items():
        parts = parts_of(provider, route)
        is_named = provider.request(route, parts, STAMP) != provider.request(route, parts, OTHER_BATCH)
        assert is_named == limits.keeps_batches


def test_a_request_arrives_as_it_was_made(kind: Kind, lane_settings: ProviderSettings) -> None:
    transport = HttpTransport(clock=SystemClock(), timeout_seconds=10)
    with ProviderServer() as server:
        provider = kind.build(replace(lane_settings, endpoint=server.url))
        for route in provider.routes:
            server.script(Reply())
            request = provider.request(route, parts_of(provider, route), STAMP)
            assert transport.post(request).status == 200
            came = server.requests[-1]
            assert came.body == plain_body(request)
            assert came.headers.items() >= {name.lower(): value for name, value in request.headers.items()}.items()
    transport.close()


@pytest.mark.parametrize("make", [make_event, make_identify])
def test_an_event_too_large_for_any_request_is_unsendable(provider: Provider, make: Callable[..., Event]) -> None:
    limit = max(limits.max_body_bytes for limits in provider.routes.values())
    assert isinstance(provider.encode(make(properties={"text": "x" * limit})), Unsendable)


@pytest.mark.parametrize("make", [make_event, make_identify])
def test_the_largest_event_that_is_taken_makes_a_request_within_the_limit(
    provider: Provider, make: Callable[..., Event]
) -> None:
    def is_refused(length: int) -> bool:
        return isinstance(provider.encode(make(properties={"text": "x" * length})), Unsendable)

    limit = max(limits.max_body_bytes for limits in provider.routes.values())
    largest = bisect_left(range(limit), True, key=is_refused) - 1
    route, parts, _in_order = encoded(provider, make(properties={"text": "x" * largest}))
    assert len(plain_body(provider.request(route, parts, STAMP))) <= provider.routes[route].max_body_bytes


@settings(max_examples=300)
@given(route_number=st.integers(0, 9), reply=replies)
def test_any_reply_has_an_outcome_whose_indexes_and_waits_make_sense(
    provider: Provider, lane_settings: ProviderSettings, route_number: int, reply: HttpReply
) -> None:
    outcome = read(provider, route_number, reply, lane_settings.credential)
    assert isinstance(outcome, Delivered | Retry | Split | Stop)
    if isinstance(outcome, Delivered):
        indexes = [part.index for part in outcome.dead] + [part.index for part in outcome.deferred]
        assert all(type(index) is int and 0 <= index < PARTS for index in indexes)
        assert len(set(indexes)) == len(indexes)
        assert all(0 <= part.after_seconds < math.inf for part in outcome.deferred)
    if isinstance(outcome, Retry):
        waits = (outcome.after_seconds or 0.0, outcome.min_seconds, *outcome.extra_jitter_seconds)
        assert all(0 <= wait < math.inf for wait in waits)


@settings(max_examples=300)
@given(route_number=st.integers(0, 9), reply=replies)
def test_no_reason_is_empty_long_or_secret(
    provider: Provider, lane_settings: ProviderSettings, route_number: int, reply: HttpReply
) -> None:
    secret = lane_settings.credential
    outcome = read(provider, route_number, reply, secret)
    if isinstance(outcome, Delivered):
        reasons = [part.reason for part in outcome.dead] + [part.reason for part in outcome.deferred]
        reasons += filter(None, [outcome.warning])
    else:
        reasons = [outcome.reason]
    for reason in reasons:
        assert 0 < len(reason) <= MAX_REASON_CHARACTERS
        assert reason.isprintable()
        assert not secret or secret not in reason


def test_nothing_is_delivered_by_a_status_that_is_neither_a_success_nor_400(provider: Provider) -> None:
    body = b'{"code":200,"status":1,"error":null,"success":true}'
    for status in {*range(100, 600)} - {*range(200, 300), 400}:
        for route in provider.routes:
            outcome = provider.read_reply(route, parts_of(provider, route), HttpReply(status, body))
            assert not isinstance(outcome, Delivered)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_retry_after_is_honoured_on_any_server_error(provider: Provider, status: int) -> None:
    for route in provider.routes:
        outcome = provider.read_reply(route, parts_of(provider, route), HttpReply(status, b"", 17.0))
        assert isinstance(outcome, Retry)
        assert outcome.after_seconds == 17.0


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 405, 421])
def test_a_wrong_host_or_path_stops_the_lane(provider: Provider, status: int) -> None:
    for route in provider.routes:
        assert isinstance(provider.read_reply(route, parts_of(provider, route), HttpReply(status, b"")), Stop)


def test_no_secret_shows_in_a_repr(provider: Provider, lane_settings: ProviderSettings) -> None:
    requests = [provider.request(route, parts_of(provider, route), STAMP) for route in provider.routes]
    shown = repr([provider, lane_settings, *requests])
    assert not lane_settings.credential or lane_settings.credential not in shown
