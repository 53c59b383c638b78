"""Every row of providers.md sections 3.5 and 5 for Amplitude, over a real connection to a server that answers so."""

from collections.abc import Iterator
from typing import Any

import pytest

from spoold.clock import SystemClock
from spoold.providers.amplitude import Amplitude
from spoold.providers.base import (
    Deferral,
    Delivered,
    Encoded,
    Outcome,
    ProviderSettings,
    Rejected,
    Retry,
    Split,
    Stamp,
    Stop,
)
from spoold.providers.http import HttpTransport
from spoold.record import Event
from tests.support.events import make_event, make_identify
from tests.support.provider_server import ProviderServer, Reply
from tests.support.provider_taken import Refusal

STAMP = Stamp(1_795_470_000_000, "")
FAST = {"code": 429, "error": "Too many requests for some devices and users", "eps_threshold": 30}
TAKEN = {"code": 200, "events_ingested": 3, "payload_size_bytes": 500, "server_upload_time": 1_795_470_000_000}


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport(clock=SystemClock(), timeout_seconds=10)
    yield made
    made.close()


def send(
    server: ProviderServer, transport: HttpTransport, *events: Event, key: str = "test-token", api: str = "httpapi"
) -> Outcome:
    """One request with ``events``, and what its reply means."""
    amplitude = Amplitude(ProviderSettings(server.url, key, {"api": api}))
    encoded = [result for result in map(amplitude.encode, events) if isinstance(result, Encoded)]
    parts = [part for result in encoded for part in result.parts]
    reply = transport.post(amplitude.request(encoded[0].route, parts, STAMP))
    return amplitude.read_reply(encoded[0].route, parts, reply)


def tracks(count: int) -> list[Event]:
    """Events of the users u-0, u-1 and so on; the third is of a device alone."""
    ids = [{"user_id": "", "anonymous_id": "d-2"} if n == 2 else {"user_id": f"u-{n}"} for n in range(count)]
    return [make_event(event_id=f"0199c2f0-7a00-7000-8000-{n:012x}", **ids[n]) for n in range(count)]


def bad(status: int = 400, error: object = "Request has bad events", **lists: Any) -> Reply:
    return Reply(status, {"code": status, "error": error, **lists})


def fast(**lists: Any) -> Reply:
    return Reply(429, {**FAST, **lists})


def dead(index: int, notes: str) -> Rejected:
    return Rejected(index, f"Request has bad events ({notes})")


def again(*indexes: int, reason: str = "HTTP 400: Request has bad events") -> tuple[Deferral, ...]:
    return tuple(Deferral(index, 0.0, f"nothing of the request was stored: {reason}") for index in indexes)


def without_1(notes: str) -> Delivered:
    """What a 400 means that names the second event."""
    return Delivered(dead=(dead(1, notes),), deferred=again(0, 2))


def late(waits: dict[int, float]) -> Delivered:
    """What a 429 means that names events which must wait."""
    why = {0.0: "nothing of the request was stored", 30.0: "throttled", 3600.0: "the daily quota is used up"}
    reason = f"HTTP 429: {FAST['error']}"
    return Delivered(deferred=tuple(Deferral(i, waits[i], f"{why[waits[i]]}: {reason}") for i in waits))


def busy(reason: str, after_seconds: float | None = None) -> Retry:
    return Retry(reason, after_seconds=after_seconds, blames_content=True)


#: For requests of three events.
ROWS: list[tuple[str, Reply, Outcome]] = [
    ("200", Reply(200, TAKEN), Delivered()),
    ("200 without a count", Reply(200, {"code": 200}), Delivered()),
    (
        "200 with another count",
        Reply(200, {**TAKEN, "events_ingested": 2}),
        Delivered(warning="Amplitude counts 2 events where 3 were to be taken"),
    ),
    (
        "200 that names one",
        Reply(200, {**TAKEN, "silenced_events": [1]}),
        Delivered((Rejected(1, "refused (silenced)"),)),
    ),
    ("invalid field", bad(events_with_invalid_fields={"time": [1]}), without_1("time is invalid")),
    ("missing field", bad(events_with_missing_fields={"event_type": [1]}), without_1("event_type is missing")),
    (
        "invalid id length",
        bad(events_with_invalid_id_lengths={"user_id": [1]}),
        without_1("user_id has an invalid length"),
    ),
    (
        "silenced",
        bad(silenced_devices=["d-2"], silenced_events=[2]),
        Delivered(dead=(dead(2, "silenced"),), deferred=again(0, 1)),
    ),
    (
        "the union of the lists",
        bad(
            events_with_invalid_fields={"time": [1], "ip": [1]},
            events_with_missing_fields={"event_type": [0]},
            silenced_events=[1],
        ),
        Delivered(
            dead=(dead(0, "event_type is missing"), dead(1, "time is invalid; ip is invalid; silenced")),
            deferred=again(2),
        ),
    ),
    (
        "all of them",
        bad(events_with_invalid_fields={"time": [0, 1, 2]}),
        Delivered(dead=tuple(dead(index, "time is invalid") for index in range(3))),
    ),
    (
        "silenced beside throttled",
        bad(silenced_events=[0, 1], throttled_events=[1, 2]),
        Delivered(
            dead=(dead(0, "silenced"), dead(1, "silenced")),
            deferred=(Deferral(2, 30.0, "throttled: HTTP 400: Request has bad events"),),
        ),
    ),
    (
        "lists before the missing key",
        bad(missing_field="api_key", events_with_invalid_fields={"time": [1]}),
        without_1("time is invalid"),
    ),
    (
        "lists before an invalid key",
        bad(error="Invalid API key: x", silenced_events=[0, 1, 2]),
        Delivered(dead=tuple(Rejected(index, "Invalid API key: x (silenced)") for index in range(3))),
    ),
    (
        "lists at another status",
        bad(403, events_with_invalid_fields={"time": [1]}),
        Delivered(dead=(dead(1, "time is invalid"),), deferred=again(0, 2, reason="HTTP 403: Request has bad events")),
    ),
    (
        "indexes as text, as a float, twice",
        bad(events_with_invalid_fields={"time": ["1", 1.0, 1]}),
        without_1("time is invalid"),
    ),
    (
        "useless indexes beside a good one",
        bad(events_with_invalid_fields={"time": [3, -1, 1.5, None, True, "x", [1], 1]}),
        without_1("time is invalid"),
    ),
    (
        "an index out of range",
        bad(events_with_invalid_fields={"time": [3]}),
        Split("HTTP 400: Request has bad events"),
    ),
    (
        "lists of the wrong shape",
        bad(events_with_invalid_fields=[1], silenced_events={"1": 1}, throttled_events=1),
        Split("HTTP 400: Request has bad events"),
    ),
    ("empty lists", bad(events_with_invalid_fields={}, silenced_events=[]), Split("HTTP 400: Request has bad events")),
    (
        "no error text",
        bad(error=None, silenced_events=[0, 1, 2]),
        Delivered(dead=tuple(Rejected(index, "refused (silenced)") for index in range(3))),
    ),
    ("invalid key", bad(error="Invalid API key: 1234"), Stop("HTTP 400: Invalid API key: 1234")),
    ("missing key", bad(missing_field="api_key"), Stop("HTTP 400: Request has bad events")),
    ("another field missing", bad(missing_field="events"), Split("HTTP 400: Request has bad events")),
    ("bad JSON", bad(error="Invalid JSON request body"), Split("HTTP 400: Invalid JSON request body")),
    ("400 as text", Reply(400, b"Bad  Request\n"), Split("HTTP 400: Bad Request")),
    ("403", Reply(403, b"Forbidden"), Split("HTTP 403: Forbidden", suspicious_after=5)),
    ("413", bad(413, "Payload too large"), Split("HTTP 413: Payload too large", too_large=True)),
    ("throttled", fast(throttled_users={"u-1": 32}, throttled_events=[1]), late({0: 0.0, 1: 30.0, 2: 0.0})),
    ("all throttled", fast(throttled_events=[0, 1, 2]), late({0: 30.0, 1: 30.0, 2: 30.0})),
    (
        "throttled ids alone",
        fast(throttled_users={"u-1": 32}, throttled_devices={"d-2": 31}),
        late({0: 0.0, 1: 30.0, 2: 30.0}),
    ),
    ("daily quota of a user", fast(exceeded_daily_quota_users={"u-1": 500_001}), late({0: 0.0, 1: 3600.0, 2: 0.0})),
    ("daily quota of a device", fast(exceeded_daily_quota_devices={"d-2": 500_001}), late({0: 0.0, 1: 0.0, 2: 3600.0})),
    ("daily quota as a list", fast(exceeded_daily_quota_users=["u-0", "d-2", 5]), late({0: 3600.0, 1: 0.0, 2: 0.0})),
    (
        "daily quota beside throttling",
        fast(exceeded_daily_quota_users={"u-1": 500_001}, throttled_events=[0, 1]),
        late({0: 30.0, 1: 3600.0, 2: 0.0}),
    ),
    (
        "quota of somebody else",
        fast(exceeded_daily_quota_users={"u-9": 1}),
        Retry(f"HTTP 429: {FAST['error']}", min_seconds=30.0),
    ),
    ("429 without lists", fast(), Retry(f"HTTP 429: {FAST['error']}", min_seconds=30.0)),
    ("429 asking for a wait", Reply(429, b"", {"Retry-After": "45"}), Retry("HTTP 429", 45.0, min_seconds=30.0)),
    ("captive portal", Reply(200, b"<p>Log in</p>"), Retry("not an answer of Amplitude: HTTP 200: Log in")),
    ("200 with another code", Reply(200, {"code": 400}), Retry('not an answer of Amplitude: HTTP 200: {"code":400}')),
    ("200 empty", Reply(200), Retry("not an answer of Amplitude: HTTP 200")),
    ("204", Reply(204), Retry("HTTP 204")),
    ("401", Reply(401), Stop("HTTP 401")),
    ("407", Reply(407), Stop("HTTP 407")),
    ("410", Reply(410), Stop("HTTP 410")),
    ("404", Reply(404, b"not here"), Stop("HTTP 404: not here")),
    ("405", Reply(405), Stop("HTTP 405")),
    ("421", Reply(421), Stop("HTTP 421")),
    ("406 of a firewall", Reply(406, b"Not Acceptable"), Split("HTTP 406: Not Acceptable")),
    ("425", Reply(425), Retry("HTTP 425")),
    ("408", Reply(408), busy("HTTP 408")),
    ("500", Reply(500, b"oops"), busy("HTTP 500: oops")),
    ("502", Reply(502), busy("HTTP 502")),
    ("503 asking for a wait", Reply(503, b"", {"Retry-After": "120"}), busy("HTTP 503", after_seconds=120.0)),
    ("504", Reply(504), busy("HTTP 504")),
    (
        "302",
        Reply(302, b"", {"Location": "/elsewhere"}),
        Stop("HTTP 302: a redirect, which is never followed: is the endpoint right?"),
    ),
]


@pytest.mark.parametrize(("reply", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_reply(server: ProviderServer, transport: HttpTransport, reply: Reply, expected: Outcome) -> None:
    server.script(reply)
    assert send(server, transport, *tracks(3)) == expected


@pytest.mark.parametrize("api", ["httpapi", "batch"])
def test_good_events_are_taken_once_however_often_they_are_sent(transport: HttpTransport, api: str) -> None:
    with ProviderServer() as server:
        for _ in range(2):
            assert send(server, transport, *tracks(50), api=api) == Delivered()
        assert len(server.events_by_insert_id) == server.duplicate_count == 50
        assert not server.changed


@pytest.mark.parametrize(("api", "passes"), [("httpapi", 3), ("batch", 2)])
def test_each_pass_removes_what_the_server_names_until_the_rest_is_taken(
    transport: HttpTransport, api: str, passes: int
) -> None:
    with ProviderServer() as server:
        server.refuse = lambda event: Refusal("time", "no") if event.get("user_id") in ("u-1", "u-4") else None
        left = tracks(5)
        while left:
            outcome = send(server, transport, *left, api=api)
            assert isinstance(outcome, Delivered)
            assert bool(outcome.dead) == bool(outcome.deferred)
            left = [left[part.index] for part in outcome.deferred]
        assert server.request_count == passes
        assert {event.get("user_id") for event in server.events_by_insert_id.values()} == {"u-0", None, "u-3"}


def test_profiles_are_set_and_unset(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        changes = [{"plan": "pro", "coupon": "X"}, {"coupon": None, "age": 3}]
        events = [make_identify(event_id=f"e{number}", properties=change) for number, change in enumerate(changes)]
        assert send(server, transport, *events) == Delivered()
        assert server.profiles == {"u-81": {"plan": "pro", "age": 3}}


def test_a_wrong_key_stops_and_is_not_told(server: ProviderServer, transport: HttpTransport) -> None:
    assert send(server, transport, *tracks(1), key="wr0ng") == Stop("HTTP 400: Invalid API key: ***")


@pytest.mark.parametrize("status", [200, 400, 401, 403, 413, 429, 500])
def test_an_echoed_key_is_masked(server: ProviderServer, transport: HttpTransport, status: int) -> None:
    server.script(Reply(status, b"no: TEST-token"))
    outcome = send(server, transport, *tracks(1))
    assert not isinstance(outcome, Delivered)
    assert outcome.reason.endswith("no: ***")


def test_a_key_in_the_words_about_events_is_masked(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(bad(error="test-token is odd", silenced_events=[1], throttled_events=[0]))
    assert send(server, transport, *tracks(2)) == Delivered(
        dead=(Rejected(1, "*** is odd (silenced)"),),
        deferred=(Deferral(0, 30.0, "throttled: HTTP 400: *** is odd"),),
    )
