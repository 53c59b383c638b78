"""The server that stands in for Mixpanel refuses what Mixpanel refuses: else the other tests prove nothing."""

import base64
import gzip
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.mixpanel_rules import FORBIDDEN_IDS, event_refusal, update_refusal
from tests.support.provider_server import Hang, ProviderServer, Reply

GOOD = {"time": 1_700_000_000_123, "distinct_id": "u-81", "$insert_id": "0199c2f0-7a00-7000-8000-00000000002a"}
BASIC = {"Authorization": "Basic " + base64.b64encode(b"test-token:").decode()}


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


def post(server: ProviderServer, target: str, body: bytes, **headers: str) -> tuple[int, Any]:
    reply = requests.post(server.url + target, data=body, headers={**headers, "Connection": "close"}, timeout=10)
    return reply.status_code, reply.json()


def event(**changes: Any) -> dict[str, Any]:
    properties = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return {"event": "Order Paid", "properties": properties}


@pytest.mark.parametrize(
    "changes",
    [
        *[{name: ...} for name in GOOD],
        {"time": "2026-01-01"},
        {"time": 1.5},
        {"time": 31_535_999},
        {"time": 31_535_999_999},
        {"time": 99_999_999_999_999},
        {"$insert_id": "x" * 37},
        {"$insert_id": "a:b"},
        {"$insert_id": "null"},
        {"distinct_id": 5},
        *[{"distinct_id": value.upper()} for value in FORBIDDEN_IDS],
        {str(number): 0 for number in range(252)},
    ],
)
def test_a_bad_event_fails(changes: dict[str, Any]) -> None:
    assert event_refusal(event(**changes)) is not None


@pytest.mark.parametrize("changes", [{}, {"time": 1_700_000_000}, {"distinct_id": ""}, {"deep": [{"a": None}]}])
def test_a_good_event_passes(changes: dict[str, Any]) -> None:
    assert event_refusal(event(**changes)) is None


@pytest.mark.parametrize("missing", ["$token", "$distinct_id", "$set"])
def test_a_bad_update_fails(missing: str) -> None:
    update = {"$token": "t", "$distinct_id": "u", "$set": {}}
    assert update_refusal(update) is None
    assert update_refusal({name: value for name, value in update.items() if name != missing}) is not None


@pytest.mark.parametrize(
    ("target", "body", "headers", "status"),
    [
        ("/import?strict=1", b"[{}]", {}, 401),
        ("/import", b"[{}]", BASIC, 400),
        ("/import?strict=1", b"{", BASIC, 400),
        ("/import?strict=1", b"[]", BASIC, 400),
        ("/import?strict=1", b"[1]", BASIC, 400),
        ("/import?strict=1", b"[{}]", {**BASIC, "Content-Encoding": "gzip"}, 400),
        ("/import?strict=1", b"[" + b" " * 2_097_152 + b"]", BASIC, 413),
        (
            "/import?strict=1",
            gzip.compress(b"[" + b" " * 2_097_152 + b"]", mtime=0),
            {**BASIC, "Content-Encoding": "gzip"},
            413,
        ),
        ("/import?strict=1", b"[" + b"{}," * 2000 + b"{}]", BASIC, 413),
        ("/engage?strict=1", gzip.compress(b"[{}]", mtime=0), {"Content-Encoding": "gzip"}, 400),
        ("/other?strict=1", b"[{}]", BASIC, 404),
    ],
)
def test_a_bad_request_is_refused_whole(
    server: ProviderServer, target: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert post(server, target, body, **headers)[0] == status


def test_the_good_events_of_a_mixed_request_are_kept(server: ProviderServer) -> None:
    body = json.dumps([event(), event(time=0)]).encode()
    status, answer = post(server, "/import?strict=1", body, **BASIC)
    assert (status, answer["num_records_imported"]) == (400, 1)
    assert [failed["index"] for failed in answer["failed_records"]] == [1]
    assert server.events_by_insert_id == {GOOD["$insert_id"]: event()}


def test_the_same_id_with_other_content_is_reported() -> None:
    with ProviderServer() as server:
        for amount in (1, 2):
            post(server, "/import?strict=1", json.dumps([event(amount=amount)]).encode(), **BASIC)
        assert server.changed == [(event(amount=1), event(amount=2))]


def test_an_update_with_another_token_is_taken_and_lost() -> None:
    with ProviderServer() as server:
        update = [{"$token": "other", "$distinct_id": "u", "$set": {"a": 1}}]
        assert post(server, "/engage?strict=1", json.dumps(update).encode())[0] == 200
        assert server.profiles == {}


def test_always_lasts_until_recover() -> None:
    with ProviderServer() as server:
        server.always(Reply(503, {}))
        server.script(Reply(500, {}))
        assert [post(server, "/import", b"")[0] for _ in range(3)] == [500, 503, 503]
        server.recover()
        assert post(server, "/import", b"")[0] == 401


def test_a_hanging_request_is_answered_once_released() -> None:
    release = threading.Event()
    with ProviderServer() as server:
        server.script(Hang(release, answers=True))
        thread = threading.Thread(target=post, args=(server, "/import?strict=1", b"[{}]"))
        thread.start()
        server.wait_until(lambda: server.arrived_count == 1)
        assert server.request_count == 0
        release.set()
        thread.join()
        assert [request.status for request in server.requests] == [401]


def test_waiting_in_vain_fails_with_the_counts(server: ProviderServer) -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: \d+ requests"):
        server.wait_until(lambda: False, 0.01)


def test_it_runs_in_a_process_of_its_own_until_sigterm() -> None:
    command = [sys.executable, "-m", "tests.support.provider_server", "--port", "0", "--ids"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        body = json.dumps([event()]).encode()
        requests.post(url + "/import?strict=1", data=body, headers=BASIC, timeout=10).close()
        line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    counts = {"records": 1, "events": 1, "duplicates": 0, "profiles": 0}
    assert line == {"path": "/import", "status": 200, **counts, "ids": [GOOD["$insert_id"]]}
