"""Every row of providers.md section 5 that concerns Mixpanel, over a real connection to a server that answers so."""

from collections.abc import Iterator
from typing import Any

import pytest

from spoold.clock import SystemClock
from spoold.providers.base import Delivered, Encoded, Outcome, ProviderSettings, Rejected, Retry, Split, Stamp, Stop
from spoold.providers.http import HttpTransport
from spoold.providers.mixpanel import Mixpanel
from spoold.record import Event
from tests.support.events import make_event, make_identify
from tests.support.mixpanel_rules import Refusal
from tests.support.provider_server import ProviderServer, Reply

STAMP = Stamp(0, "")
RATE_LIMIT = "Project exceeded rate limits. Please retry the request with exponential backoff."


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport(clock=SystemClock(), timeout_seconds=10)
    yield made
    made.close()


def send(server: ProviderServer, transport: HttpTransport, *events: Event, token: str = "test-token") -> Outcome:
    """One request with ``events``, all of one kind, and what its reply means."""
    mixpanel = Mixpanel(ProviderSettings(server.url, token))
    encoded = [result for result in map(mixpanel.encode, events) if isinstance(result, Encoded)]
    parts = [part for result in encoded for part in result.parts]
    reply = transport.post(mixpanel.request(encoded[0].route, parts, STAMP))
    return mixpanel.read_reply(encoded[0].route, parts, reply)


def tracks(count: int) -> list[Event]:
    return [
        make_event(event_id=f"0199c2f0-7a00-7000-8000-{number:012x}", timestamp_ms=1_700_000_000_000 + number)
        for number in range(count)
    ]


def partial(count: int | None, *failed: dict[str, Any], status: int = 400) -> Reply:
    body: dict[str, Any] = {"code": status, "error": "some failed", "failed_records": list(failed)}
    return Reply(status, body if count is None else {**body, "num_records_imported": count})


def bad(index: object, message: str = "'properties.time' is invalid", field: str = "properties.time") -> dict[str, Any]:
    return {"index": index, "insert_id": "x", "field": field, "message": message}


def slow(reason: str, after: float | None = None) -> Retry:
    return Retry(reason, after_seconds=after, min_seconds=2.0, extra_jitter_seconds=(1.0, 5.0))


def busy(reason: str, after_seconds: float | None = None) -> Retry:
    return Retry(reason, after_seconds=after_seconds, blames_content=True)


BUSY = {"code": 429, "error": RATE_LIMIT, "status": "Too Many Requests"}
TOO_LARGE = {"code": 413, "error": "request exceeds max limit of 2097152 bytes", "status": "Request Entity Too Large"}
DEAD_1 = (Rejected(1, "'properties.time' is invalid"),)

#: For requests of three records to /import.
IMPORT_ROWS: list[tuple[str, Reply, Outcome]] = [
    ("200 code 200", Reply(200, {"code": 200, "num_records_imported": 3, "status": "OK"}), Delivered()),
    ("200 without a count", Reply(200, {"code": 200, "status": "OK"}), Delivered()),
    (
        "200 with another count",
        Reply(200, {"code": 200, "num_records_imported": 2}),
        Delivered(warning="Mixpanel counts 2 records where 3 were to be taken"),
    ),
    ("200 with failed_records", partial(2, bad(1), status=200), Delivered(dead=DEAD_1)),
    ("400 with failed_records", partial(2, bad(1)), Delivered(dead=DEAD_1)),
    ("400 with an index as a float", partial(2, bad(1.0)), Delivered(dead=DEAD_1)),
    (
        "400 all failed",
        partial(0, bad(0, "a", ""), bad(2, "b", "f"), bad(1, "", "")),
        Delivered(dead=(Rejected(0, "a"), Rejected(1, "refused without a reason"), Rejected(2, "b (field f)"))),
    ),
    (
        "400 one record listed twice",
        partial(2, bad(1, "a", ""), bad(1, "b", "")),
        Delivered(dead=(Rejected(1, "a; b"),)),
    ),
    ("400 without a count", partial(None, bad(1)), Split("HTTP 400: some failed")),
    ("400 with a count that leaves one open", partial(1, bad(1)), Split("HTTP 400: some failed")),
    ("400 without records", Reply(400, {"code": 400, "error": "bad JSON"}), Split("HTTP 400: bad JSON")),
    ("400 as text", Reply(400, b"Bad  Request\n"), Split("HTTP 400: Bad Request")),
    ("400 with an index out of range", partial(2, bad(3)), Split("HTTP 400: some failed")),
    ("400 with an index below zero", partial(2, bad(-1)), Split("HTTP 400: some failed")),
    ("400 with half an index", partial(2, bad(1.5)), Split("HTTP 400: some failed")),
    ("400 with an index that is none", partial(2, bad(True)), Split("HTTP 400: some failed")),
    ("200 that names no record", partial(2, bad("1"), status=200), Split("HTTP 200: some failed")),
    ("401", Reply(401, {"code": 401, "error": "Invalid credentials"}), Stop("HTTP 401: Invalid credentials")),
    ("403", Reply(403, {"error": "no", "status": "error"}), Stop("HTTP 403: no")),
    ("413", Reply(413, TOO_LARGE), Split(f"HTTP 413: {TOO_LARGE['error']}", too_large=True)),
    ("429", Reply(429, BUSY), slow(f"HTTP 429: {RATE_LIMIT}")),
    ("429 asking for a wait", Reply(429, BUSY, {"Retry-After": "7"}), slow(f"HTTP 429: {RATE_LIMIT}", after=7.0)),
    ("429 with failed_records for all", partial(2, bad(1), status=429), Delivered(dead=DEAD_1)),
    ("401 with some failed_records", partial(None, bad(1), status=401), Stop("HTTP 401: some failed")),
    ("captive portal", Reply(200, b"<html><p>Log in</p></html>"), Retry("not an answer of Mixpanel: HTTP 200: Log in")),
    ("200 with another code", Reply(200, {"code": 500}), Retry('not an answer of Mixpanel: HTTP 200: {"code":500}')),
    ("200 empty", Reply(200), Retry("not an answer of Mixpanel: HTTP 200")),
    ("legacy 1", Reply(200, b"1"), Retry("not an answer of Mixpanel: HTTP 200: 1")),
    ("204", Reply(204), Retry("HTTP 204")),
    ("500", Reply(500, b"oops"), busy("HTTP 500: oops")),
    ("502", Reply(502), busy("HTTP 502")),
    ("503 asking for a wait", Reply(503, b"", {"Retry-After": "120"}), busy("HTTP 503", after_seconds=120.0)),
    ("504", Reply(504), busy("HTTP 504")),
    ("501", Reply(501), busy("HTTP 501")),
    ("408", Reply(408), busy("HTTP 408")),
    ("404", Reply(404, b"not here"), Stop("HTTP 404: not here")),
    ("405", Reply(405), Stop("HTTP 405")),
    ("421", Reply(421), Stop("HTTP 421")),
    ("407", Reply(407), Stop("HTTP 407")),
    ("410", Reply(410), Stop("HTTP 410")),
    ("425", Reply(425), Retry("HTTP 425")),
    ("406 of a firewall", Reply(406, b"Not Acceptable"), Split("HTTP 406: Not Acceptable")),
    (
        "302",
        Reply(302, b"", {"Location": "/elsewhere"}),
        Stop("HTTP 302: a redirect, which is never followed: is the endpoint right?"),
    ),
]

#: For requests of two records to /engage.
ENGAGE_ROWS: list[tuple[str, Reply, Outcome]] = [
    ("status 1", Reply(200, {"status": 1, "error": None}), Delivered()),
    ("text 1", Reply(200, b"1"), Delivered()),
    ("shape of import", Reply(200, {"code": 200, "num_records_imported": 2, "status": "OK"}), Delivered()),
    (
        "another count",
        Reply(200, {"status": 1, "error": None, "num_good_events": 1}),
        Delivered(warning="Mixpanel counts 1 records where 2 were to be taken"),
    ),
    ("text 0", Reply(200, b"0"), Split("HTTP 200: 0")),
    ("status 0", Reply(200, {"status": 0, "error": "bad token"}), Split("HTTP 200: bad token")),
    ("status 1 with an error", Reply(200, {"status": 1, "error": "odd"}), Split("HTTP 200: odd")),
    (
        "failed_records",
        Reply(200, {"status": 0, "error": "some failed", "failed_records": [{"index": 1, "message": "no"}]}),
        Delivered(dead=(Rejected(1, "no"),)),
    ),
    (
        "400 with failed_records",
        Reply(400, {"error": "some failed", "failed_records": [{"index": 1, "message": "no"}], "num_good_events": 1}),
        Delivered(dead=(Rejected(1, "no"),)),
    ),
    (
        "failed_records against the count",
        Reply(200, {"error": "some", "failed_records": [{"index": 1}], "num_good_events": 0}),
        Split("HTTP 200: some"),
    ),
    ("400", Reply(400, {"error": "bad"}), Split("HTTP 400: bad")),
    ("401", Reply(401, {"error": "bad", "status": "error"}), Stop("HTTP 401: bad")),
    ("403", Reply(403, {"error": "bad", "status": "error"}), Stop("HTTP 403: bad")),
    ("429", Reply(429, {"error": "slow down", "status": 0}), slow("HTTP 429: slow down")),
    ("captive portal", Reply(200, b"<p>Log in"), Retry("not an answer of Mixpanel: HTTP 200: Log in")),
    ("a stranger's JSON", Reply(200, {}), Retry("not an answer of Mixpanel: HTTP 200: {}")),
    ("true is not 1", Reply(200, b"true"), Retry("not an answer of Mixpanel: HTTP 200: true")),
    ("503", Reply(503), busy("HTTP 503")),
]


@pytest.mark.parametrize(("reply", "expected"), [row[1:] for row in IMPORT_ROWS], ids=[row[0] for row in IMPORT_ROWS])
def test_import(server: ProviderServer, transport: HttpTransport, reply: Reply, expected: Outcome) -> None:
    server.script(reply)
    assert send(server, transport, *tracks(3)) == expected


@pytest.mark.parametrize(("reply", "expected"), [row[1:] for row in ENGAGE_ROWS], ids=[row[0] for row in ENGAGE_ROWS])
def test_engage(server: ProviderServer, transport: HttpTransport, reply: Reply, expected: Outcome) -> None:
    server.script(reply)
    assert send(server, transport, make_identify(user_id="a"), make_identify(user_id="b")) == expected


def test_good_events_are_taken_once_however_often_they_are_sent(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        for _ in range(2):
            assert send(server, transport, *tracks(50)) == Delivered()
        assert len(server.events_by_insert_id) == server.duplicate_count == 50
        assert not server.changed


def test_the_server_names_the_bad_event_and_keeps_the_others(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        server.refuse = lambda record: Refusal("event", "no") if record["properties"].get("n") == 1 else None
        events = [
            make_event(event_id=f"e{number}", timestamp_ms=1_700_000_000_000, properties={"n": number})
            for number in range(3)
        ]
        assert send(server, transport, *events) == Delivered(dead=(Rejected(1, "no (field event)"),))
        assert server.events_by_insert_id.keys() == {"e0", "e2"}


def test_profiles_are_set_and_unset(transport: HttpTransport) -> None:
    with ProviderServer() as server:
        assert send(server, transport, make_identify(properties={"plan": "pro", "coupon": "X"})) == Delivered()
        assert send(server, transport, make_identify(properties={"coupon": None, "age": 3})) == Delivered()
        assert server.profiles == {"u-81": {"plan": "pro", "age": 3}}


def test_a_wrong_token_stops(server: ProviderServer, transport: HttpTransport) -> None:
    assert send(server, transport, *tracks(1), token="wrong") == Stop("HTTP 401: Invalid credentials")


@pytest.mark.parametrize("status", [200, 400, 401, 413, 429, 500])
def test_an_echoed_credential_is_masked(server: ProviderServer, transport: HttpTransport, status: int) -> None:
    server.script(Reply(status, b"no: TEST-token and dGVzdC10b2tlbjo="))
    outcome = send(server, transport, *tracks(1))
    assert not isinstance(outcome, Delivered)
    assert outcome.reason.endswith("no: *** and ***")


def test_a_credential_in_the_words_about_a_record_is_masked(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(partial(2, bad(1, "token test-token is odd", "")))
    assert send(server, transport, *tracks(3)) == Delivered(dead=(Rejected(1, "token *** is odd"),))
