"""What every provider must hold (spoold/providers/base.py). A new one is one line in PROVIDERS."""

import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoold.providers import mixpanel
from spoold.providers.base import (
    Delivered,
    Encoded,
    HttpReply,
    Provider,
    ProviderSettings,
    Retry,
    Split,
    Stamp,
    Stop,
    Unsendable,
)
from spoold.providers.http import MAX_REASON_CHARACTERS
from spoold.record import Event
from tests.support.events import make_event, make_identify

SECRET = "s3cr3t-k3y-0123456789abcdef"
PROVIDERS: dict[str, Callable[[], Provider]] = {
    "mixpanel": lambda: mixpanel.KIND.build(ProviderSettings(mixpanel.KIND.endpoint, SECRET)),
}
PARTS = 5
SENT = [b"{}"] * PARTS
STAMP = Stamp(0, "")

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
answers = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from([200, 400, 200.0, True]) | numbers,
        "status": st.sampled_from(["OK", 0, 1, True]) | numbers,
        "error": st.just(f"bad token {SECRET}") | values,
        "num_records_imported": numbers,
        "num_good_events": numbers,
        "failed_records": failed_records | values,
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
    | st.sampled_from([b"", b"1", b"0", b"1e999", b'{"code":1e400}', b"\xff\xfe"])
    | st.sampled_from([b"[", b'{"a":', b"9"]).map(lambda deep: deep * 50_000)
    | st.text(max_size=50).map(lambda text: f"<html>{text} {SECRET}</html>".encode())
)
statuses = st.sampled_from([200, 204, 301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503]) | st.integers(-1, 1000)
replies = st.builds(HttpReply, statuses, bodies, st.none() | st.floats(0, 4000))


@pytest.fixture(params=list(PROVIDERS.values()), ids=list(PROVIDERS), scope="module")
def provider(request: pytest.FixtureRequest) -> Provider:
    made: Provider = request.param()
    return made


def encoded(provider: Provider, event: Event) -> Encoded:
    result = provider.encode(event)
    assert isinstance(result, Encoded)
    return result


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
    assert all(isinstance(orjson.loads(part), dict) for part in result.parts)


@given(event=events)
def test_encoding_leaves_the_event_as_it_was(provider: Provider, event: Event) -> None:
    before = orjson.dumps(event.properties)
    provider.encode(event)
    assert orjson.dumps(event.properties) == before


@pytest.mark.parametrize("event", [make_event(), make_identify()], ids=["track", "identify"])
def test_the_same_parts_make_the_same_request(provider: Provider, event: Event) -> None:
    route, parts, _in_order = encoded(provider, event)
    assert provider.request(route, parts, STAMP) == provider.request(route, parts, STAMP)


@pytest.mark.parametrize("make", [make_event, make_identify])
def test_an_event_too_large_for_any_request_is_unsendable(provider: Provider, make: Callable[..., Event]) -> None:
    limit = max(limits.max_body_bytes for limits in provider.routes.values())
    assert isinstance(provider.encode(make(properties={"text": "x" * limit})), Unsendable)


@pytest.mark.parametrize("make", [make_event, make_identify])
def test_an_event_that_just_fits_makes_a_request_within_the_limit(
    provider: Provider, make: Callable[..., Event]
) -> None:
    route, parts, _in_order = encoded(provider, make(properties={"text": ""}))
    limit = provider.routes[route].max_body_bytes
    room = limit - sum(map(len, parts)) - len(parts) - 1
    route, parts, _in_order = encoded(provider, make(properties={"text": "x" * room}))
    assert sum(map(len, parts)) + len(parts) + 1 == limit
    assert isinstance(provider.encode(make(properties={"text": "x" * (room + 1)})), Unsendable)


@settings(max_examples=300)
@given(route_number=st.integers(0, 9), reply=replies)
def test_any_reply_has_an_outcome_whose_indexes_are_in_range(
    provider: Provider, route_number: int, reply: HttpReply
) -> None:
    route = list(provider.routes)[route_number % len(provider.routes)]
    outcome = provider.read_reply(route, SENT, reply)
    assert isinstance(outcome, Delivered | Retry | Split | Stop)
    if isinstance(outcome, Delivered):
        indexes = [part.index for part in outcome.dead] + [part.index for part in outcome.deferred]
        assert all(type(index) is int and 0 <= index < PARTS for index in indexes)
        assert len(set(indexes)) == len(indexes)


@settings(max_examples=300)
@given(route_number=st.integers(0, 9), reply=replies)
def test_no_reason_is_empty_long_or_secret(provider: Provider, route_number: int, reply: HttpReply) -> None:
    route = list(provider.routes)[route_number % len(provider.routes)]
    outcome = provider.read_reply(route, SENT, reply)
    reasons = [part.reason for part in outcome.dead] if isinstance(outcome, Delivered) else [outcome.reason]
    for reason in reasons:
        assert 0 < len(reason) <= MAX_REASON_CHARACTERS
        assert reason.isprintable()
        assert SECRET not in reason


def test_no_status_but_200_and_400_delivers_without_a_word_about_records(provider: Provider) -> None:
    body = b'{"code":200,"status":1,"error":null}'
    for status in {*range(100, 600)} - {200, 400}:
        for route in provider.routes:
            assert not isinstance(provider.read_reply(route, SENT, HttpReply(status, body)), Delivered)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_retry_after_is_honoured_on_any_server_error(provider: Provider, status: int) -> None:
    for route in provider.routes:
        outcome = provider.read_reply(route, SENT, HttpReply(status, b"", 17.0))
        assert isinstance(outcome, Retry)
        assert outcome.after_seconds == 17.0


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 405, 421])
def test_a_wrong_host_or_path_stops_the_lane(provider: Provider, status: int) -> None:
    for route in provider.routes:
        assert isinstance(provider.read_reply(route, SENT, HttpReply(status, b"")), Stop)


def test_no_secret_shows_in_a_repr(provider: Provider) -> None:
    results = [encoded(provider, event) for event in (make_event(), make_identify())]
    requests = [provider.request(result.route, result.parts, STAMP) for result in results]
    assert SECRET not in repr([provider, *requests])
