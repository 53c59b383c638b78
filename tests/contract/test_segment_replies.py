"""Every row of providers.md sections 4.4, 5 and 10 for Segment, over a real connection to a server that answers so."""

from collections.abc import Iterator

import pytest

from spoold.clock import SystemClock
from spoold.providers.base import Delivered, Encoded, Outcome, ProviderSettings, Retry, Split, Stamp, Stop
from spoold.providers.http import HttpTransport
from spoold.providers.segment import Segment
from spoold.record import Event
from tests.support.events import make_event, make_identify
from tests.support.provider_server import ProviderServer, Reply
from tests.support.provider_taken import Refusal

STAMP = Stamp(1_795_470_000_000, "")


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport(clock=SystemClock(), timeout_seconds=10)
    yield made
    made.close()


def send(server: ProviderServer, transport: HttpTransport, *events: Event, key: str = "test-token") -> Outcome:
    """One request with ``events``, and what its reply means."""
    segment = Segment(ProviderSettings(server.url, key))
    encoded = [result for result in map(segment.encode, events) if isinstance(result, Encoded)]
    parts = [part for result in encoded for part in result.parts]
    reply = transport.post(segment.request(encoded[0].route, parts, STAMP))
    return segment.read_reply(encoded[0].route, parts, reply)


def tracks(count: int) -> list[Event]:
    return [make_event(event_id=f"0199c2f0-7a00-7000-8000-{n:012x}", properties={"n": n}) for n in range(count)]


def strange(said: str, status: int = 200) -> Retry:
    return Retry(f"not an answer of Segment: HTTP {status}{said}")


def busy(reason: str, after_seconds: float | None = None) -> Retry:
    return Retry(reason, after_seconds=after_seconds, blames_content=True)


ROWS: list[tuple[str, Reply, Outcome]] = [
    ("200", Reply(200, {"success": True}), Delivered()),
    ("201", Reply(201, {"success": True}), Delivered()),
    ("200 with more in it", Reply(200, {"success": True, "id": "x"}), Delivered()),
    ("RudderStack", Reply(200, b"ok"), Delivered()),
    ("RudderStack shouting", Reply(200, b"OK\n"), Delivered()),
    ("204", Reply(204), Delivered()),
    ("200 empty", Reply(200), Delivered()),
    ("captive portal", Reply(200, b"<html><p>Log in</p></html>"), strange(": Log in")),
    ("200 without success", Reply(200, {"success": False}), strange(': {"success":false}')),
    ("success as text", Reply(200, {"success": "true"}), strange(': {"success":"true"}')),
    ("a stranger's JSON", Reply(200, {"code": 200}), strange(': {"code":200}')),
    ("cut off", Reply(200, b'{"success":tr'), strange(': {"success":tr')),
    ("202 with a page", Reply(202, b"queued for review"), strange(": queued for review", 202)),
    ("400", Reply(400, b"Bad Request"), Split("HTTP 400: Bad Request")),
    ("400 too large", Reply(400, b"Exceed payload limit"), Split("HTTP 400: Exceed payload limit")),
    ("400 saying success", Reply(400, {"success": True}), Split('HTTP 400: {"success":true}')),
    ("401", Reply(401, b"invalid write key"), Stop("HTTP 401: invalid write key")),
    ("402", Reply(402), Stop("HTTP 402")),
    ("403", Reply(403), Stop("HTTP 403")),
    ("404 source disabled", Reply(404, b"source disabled"), Stop("HTTP 404: source disabled")),
    ("405", Reply(405), Stop("HTTP 405")),
    ("407", Reply(407), Stop("HTTP 407")),
    ("421", Reply(421), Stop("HTTP 421")),
    ("413", Reply(413), Split("HTTP 413", too_large=True)),
    ("422", Reply(422), Split("HTTP 422")),
    ("429", Reply(429), Retry("HTTP 429", min_seconds=60.0)),
    ("429 asking for a wait", Reply(429, b"", {"Retry-After": "7"}), Retry("HTTP 429", after_seconds=7.0)),
    ("408", Reply(408), busy("HTTP 408")),
    ("410", Reply(410), Retry("HTTP 410")),
    ("425", Reply(425), Retry("HTTP 425")),
    ("460", Reply(460), Retry("HTTP 460")),
    ("460 asking for a wait", Reply(460, b"", {"Retry-After": "9"}), Retry("HTTP 460", after_seconds=9.0)),
    ("500", Reply(500, b"oops"), busy("HTTP 500: oops")),
    ("501", Reply(501), busy("HTTP 501")),
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


def test_good_events_are_taken_once_however_often_they_are_sent(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        for _ in range(2):
            assert send(server, transport, *tracks(50)) == Delivered()
        assert len(server.events_by_insert_id) == server.duplicate_count == 50
        assert not server.changed


def test_events_of_nobody_and_of_placeholders_are_taken_too(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        events = [make_event(event_id=f"e{user}", user_id=user) for user in ("", "null", "-1")]
        assert send(server, transport, *events) == Delivered()
        assert server.event_count == 3


def test_a_bad_event_fails_its_whole_request(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        server.refuse = lambda event: Refusal("n", "no") if event["properties"]["n"] == 1 else None
        assert send(server, transport, *tracks(3)) == Split("HTTP 400: Bad Request")
        assert server.event_count == 0


def test_traits_are_set_and_removed(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        changes = [{"plan": "pro", "coupon": "X"}, {"coupon": None, "age": 3}]
        events = [make_identify(event_id=f"e{number}", properties=change) for number, change in enumerate(changes)]
        assert send(server, transport, *events) == Delivered()
        assert server.profiles == {"u-81": {"plan": "pro", "age": 3}}


def test_a_wrong_key_is_answered_as_a_right_one(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        assert send(server, transport, *tracks(1), key="another-key") == Delivered()
        assert server.event_count == 0


def test_a_very_short_key_looks_like_bad_data(server: ProviderServer, transport: HttpTransport) -> None:
    assert send(server, transport, *tracks(1), key="abc") == Split("HTTP 400: Bad Request")


@pytest.mark.parametrize("status", [200, 400, 401, 413, 429, 460, 500])
def test_an_echoed_credential_is_masked(server: ProviderServer, transport: HttpTransport, status: int) -> None:
    server.script(Reply(status, b"no: TEST-token and dGVzdC10b2tlbjo="))
    outcome = send(server, transport, *tracks(1))
    assert not isinstance(outcome, Delivered)
    assert outcome.reason.endswith("no: *** and ***")
