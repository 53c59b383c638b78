"""Every kind of provider at once, each in a lane of one configuration file."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door
from tests.support.one_of_each import one_of_each, records_of_each
from tests.support.provider_server import Hang, ProviderServer, Reply
from tests.support.provider_taken import Refusal
from tests.support.services import KINDS, Services, by_name, lane, lanes, send, services, start, tracked

Json = dict[str, Any]
Status = Callable[[DaemonProcess], Json]
Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def servers() -> Iterator[Services]:
    with services() as started:
        yield started


def names(server: ProviderServer) -> list[str]:
    return [str(record.get("event", record.get("event_type", record.get("event_name")))) for record in got(server)]


def got(server: ProviderServer) -> list[Json]:
    return [record for request in server.requests for record in request.records]


def test_every_kind_gets_every_event_once_and_in_its_own_words(
    tmp_path: Path, servers: Services, status: Status
) -> None:
    with start(tmp_path, lanes(servers, batch={"size": 4})) as daemon, front_door(daemon.address) as stub:
        send(stub, one_of_each())
        for kind in servers:
            daemon.wait_for_lane(kind, "batch flushed successfully", pending=0)
        told = by_name(status(daemon))

    for kind, server in servers.items():
        records = got(server)
        for record in records:
            record.pop("received_at_ms", None)
        assert records == records_of_each(kind, server.token), kind
        assert (told[kind]["delivered"], told[kind]["dead"], server.duplicate_count) == (4, 0, 0)


#: What a provider says to a wrong key; Segment says 200, but what speaks its protocol says this (providers.md 10).
_WRONG_KEY = {
    "mixpanel": Reply(401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"}),
    "amplitude": Reply(400, {"code": 400, "error": "Invalid API key: amplitude-token"}),
    "segment": Reply(401, b"Invalid write key"),
    "webhook": Reply(401, b"the signature is not of our secret"),
}


@pytest.mark.parametrize(("hangs", "refuses"), list(zip(KINDS, (*KINDS[1:], KINDS[0]), strict=True)))
def test_one_that_hangs_and_one_that_refuses_the_key_are_nothing_to_the_others(
    tmp_path: Path, servers: Services, status: Status, hangs: str, refuses: str
) -> None:
    """I5."""
    servers[hangs].always(Hang(threading.Event()))
    servers[refuses].always(_WRONG_KEY[refuses])
    well = [kind for kind in KINDS if kind not in (hangs, refuses)]
    with start(tmp_path, lanes(servers)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 100)
        for kind in well:
            servers[kind].wait_until(lambda kind=kind: servers[kind].event_count == 100)  # type: ignore[misc]
        daemon.wait_for_lane(refuses, "lane down", state="stopped")
        # The same once more: none of the two is waited for.
        ids += send(stub, [tracked()] * 100)
        for kind in well:
            daemon.wait_for_lane(kind, "batch flushed successfully", pending=0)
            servers[kind].wait_until(lambda kind=kind: servers[kind].event_count == 200)  # type: ignore[misc]
        told = by_name(status(daemon))
        assert servers[hangs].request_count == 0

    assert (told[refuses]["state"], told[refuses]["pending"]) == ("stopped", 200)
    assert "HTTP 40" in told[refuses]["last_error"]
    assert (told[hangs]["state"], told[hangs]["pending"]) == ("sending", 200)
    for kind in well:
        assert servers[kind].events_by_insert_id.keys() == set(ids)
        assert (servers[kind].duplicate_count, told[kind]["failures"]) == (0, 0)


#: What names the poisoned event, and whether the provider says so of a single event.
_WORDS = {
    "mixpanel": ("poisoned words (field event)", True),
    "amplitude": ("Request has events that are invalid (event is invalid)", True),
    "segment": ("HTTP 400: Bad Request", False),
    "webhook": ("HTTP 400: event: poisoned words", False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_poisoned_event_of_500_is_all_that_is_set_aside(
    tmp_path: Path, servers: Services, status: Status, spoolctl: Run, kind: str
) -> None:
    server = servers[kind]
    server.refuse = lambda record: Refusal("event", "poisoned words") if "Poison" in record.values() else None
    with start(tmp_path, lane(kind, server)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked("Poison" if number == 273 else "Order Paid") for number in range(500)])
        letter = daemon.wait_for_lane(kind, "dead letter")
        daemon.wait_for_lane(kind, "batch flushed successfully", pending=0)
        (told,) = status(daemon)["lanes"]
        listed = json.loads(spoolctl("dead", "list", "--json", daemon=daemon).stdout)
        shown = spoolctl("dead", "show", ids[273], daemon=daemon).stdout

    words, is_single = _WORDS[kind]
    sent = names(server).count("Poison")
    assert (told["delivered"], told["dead"], told["pending"], told["state"]) == (499, 1, 0, "idle")
    assert (listed["event_id"], listed["event_name"], listed["lane"]) == (ids[273], "Poison", kind)
    assert (listed["status"], listed["reason"], listed["attempts"]) == (400, letter["reason"], sent)
    assert words in listed["reason"]
    assert words in shown
    assert sent == 1 if is_single else sent > 1
    assert server.events_by_insert_id.keys() == set(ids) - {ids[273]}
    assert server.duplicate_count == 0
