"""Every row of providers.md section 5 that concerns webhooks, over a real connection to a receiver that answers so."""

from collections.abc import Iterator

import pytest

from spoold.clock import SystemClock
from spoold.providers.base import Delivered, Encoded, Outcome, ProviderSettings, Retry, Split, Stamp, Stop
from spoold.providers.http import HttpTransport
from spoold.providers.webhook import KIND
from tests.support.events import TIME_MS, make_event
from tests.support.provider_server import ProviderServer, Reply
from tests.support.webhook_rules import cloudevent_faults, is_genuine, secret_of

KEY = b"a key of twenty-four by."
STAMP = Stamp(TIME_MS, "0123456789abcdef" * 2)
OPTIONS = {"headers": {"Authorization": "Bearer T0ken-of-mine"}}


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport(clock=SystemClock(), timeout_seconds=10)
    yield made
    made.close()


def send(server: ProviderServer, transport: HttpTransport, **options: str) -> Outcome:
    """A batch of three events, and what the reply to it means."""
    url = f"{server.url}/hook/?team=7-of-secrets"
    webhook = KIND.build(ProviderSettings(url, secret_of(KEY), {**OPTIONS, **options}))
    events = [make_event(event_id=f"0199c2f0-7a00-7000-8000-{number:012x}") for number in range(3)]
    results = [webhook.encode(event) for event in events]
    parts = [part for result in results if isinstance(result, Encoded) for part in result.parts]
    reply = transport.post(webhook.request("hook", parts, STAMP))
    return webhook.read_reply("hook", parts, reply)


def busy(reason: str, after_seconds: float | None = None) -> Retry:
    return Retry(reason, after_seconds=after_seconds, blames_content=True)


ROWS: list[tuple[str, Reply, Outcome]] = [
    ("200", Reply(200), Delivered()),
    ("200 with an error in it", Reply(200, {"error": "whatever"}), Delivered()),
    ("200 of HTML", Reply(200, b"<html>thanks</html>"), Delivered()),
    ("201", Reply(201, {"id": 7}), Delivered()),
    ("202", Reply(202), Delivered()),
    ("204", Reply(204), Delivered()),
    ("299", Reply(299), Delivered()),
    ("400", Reply(400, b"no such field"), Split("HTTP 400: no such field", retries=3)),
    ("422", Reply(422, b"no such field"), Split("HTTP 422: no such field", retries=3)),
    ("409", Reply(409), Split("HTTP 409", retries=3)),
    ("406 of a firewall", Reply(406, b"Not Acceptable"), Split("HTTP 406: Not Acceptable", retries=3)),
    ("451", Reply(451), Split("HTTP 451", retries=3)),
    ("401", Reply(401, b"bad signature"), Stop("HTTP 401: bad signature")),
    ("402", Reply(402), Stop("HTTP 402")),
    ("403", Reply(403), Stop("HTTP 403")),
    ("407", Reply(407), Stop("HTTP 407")),
    ("410", Reply(410, b"gone for good"), Stop("HTTP 410: gone for good")),
    ("414", Reply(414), Stop("HTTP 414")),
    ("415", Reply(415, b"JSON only"), Stop("HTTP 415: JSON only")),
    ("431", Reply(431), Stop("HTTP 431")),
    ("413", Reply(413, b"too large"), Split("HTTP 413: too large", too_large=True)),
    ("429", Reply(429, b"slow down"), Retry("HTTP 429: slow down")),
    ("429 asking for a wait", Reply(429, b"", {"Retry-After": "7"}), Retry("HTTP 429", after_seconds=7.0)),
    ("425", Reply(425), Retry("HTTP 425")),
    ("408", Reply(408), busy("HTTP 408")),
    ("500", Reply(500, b"oops"), busy("HTTP 500: oops")),
    ("501", Reply(501), busy("HTTP 501")),
    ("502 asking for a wait", Reply(502, b"", {"Retry-After": "9"}), busy("HTTP 502", 9.0)),
    ("503 asking for a wait", Reply(503, b"", {"Retry-After": "120"}), busy("HTTP 503", 120.0)),
    ("504 asking for a wait", Reply(504, b"", {"Retry-After": "1"}), busy("HTTP 504", 1.0)),
    ("404", Reply(404, b"not here"), Stop("HTTP 404: not here")),
    ("405", Reply(405), Stop("HTTP 405")),
    ("421", Reply(421), Stop("HTTP 421")),
    *(
        (
            f"{status}",
            Reply(status, b"", {"Location": "/elsewhere"}),
            Stop(f"HTTP {status}: a redirect, which is never followed: is the endpoint right?"),
        )
        for status in (300, 301, 302, 303, 304, 307, 308)
    ),
    ("a status of no class", Reply(600, b"?"), Retry("HTTP 600: ?")),
]


@pytest.mark.parametrize(("reply", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_reply(server: ProviderServer, transport: HttpTransport, reply: Reply, expected: Outcome) -> None:
    server.script(reply)
    assert send(server, transport) == expected


def test_a_redirect_is_not_followed(server: ProviderServer, transport: HttpTransport) -> None:
    before = server.request_count
    server.script(Reply(307, b"", {"Location": f"{server.url}/elsewhere"}))
    assert isinstance(send(server, transport), Stop)
    assert server.request_count == before + 1


def test_a_receiver_gets_what_was_signed_at_the_url_that_was_named(
    server: ProviderServer, transport: HttpTransport
) -> None:
    server.script(Reply(204))
    assert send(server, transport) == Delivered()
    came = server.requests[-1]
    assert came.target == "/hook/?team=7-of-secrets"
    assert came.headers["content-type"] == "application/json"
    assert came.headers["authorization"] == "Bearer T0ken-of-mine"
    assert came.headers["webhook-timestamp"] == "1795470000"
    assert "content-encoding" not in came.headers
    assert is_genuine(KEY, came.headers, came.body)
    assert [record["event_id"][-1] for record in came.records] == ["0", "1", "2"]


def test_a_receiver_of_cloudevents_gets_a_signed_batch_of_them(
    server: ProviderServer, transport: HttpTransport
) -> None:
    server.script(Reply(202))
    assert send(server, transport, format="cloudevents") == Delivered()
    came = server.requests[-1]
    assert came.headers["content-type"] == "application/cloudevents-batch+json"
    assert is_genuine(KEY, came.headers, came.body)
    assert len({record["id"] for record in came.records}) == 3
    assert not [fault for record in came.records for fault in cloudevent_faults(record)]


@pytest.mark.parametrize("status", [400, 401, 410, 413, 429, 500])
@pytest.mark.parametrize(
    "words",
    [
        secret_of(KEY),
        secret_of(KEY).removeprefix("whsec_").lower(),
        "Bearer T0ken-of-mine",
        "t0ken-of-mine",
        "team=7-of-secrets",
    ],
)
def test_an_echoed_secret_is_masked(server: ProviderServer, transport: HttpTransport, status: int, words: str) -> None:
    server.script(Reply(status, f"not {words} here".encode()))
    outcome = send(server, transport)
    assert not isinstance(outcome, Delivered)
    assert outcome.reason == f"HTTP {status}: not *** here"
