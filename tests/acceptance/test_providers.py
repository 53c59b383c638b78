"""Every kind of provider at once, each in a lane of one configuration file."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import grpc
import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door
from tests.support.one_of_each import one_of_each, records_of_each
from tests.support.provider_server import Hang, ProviderServer, Reply
from tests.support.provider_taken import Refusal
from tests.support.services import KINDS, Services, by_name, lane, lanes, send, services, start, table, tracked, values

Json = dict[str, Any]
Status = Callable[[DaemonProcess], Json]
Run = Callable[..., "CompletedProcess[str]"]

_FLUSHED = "batch flushed successfully"


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
            daemon.wait_for_lane(kind, _FLUSHED, pending=0)
        told = by_name(status(daemon))

    for kind, server in servers.items():
        records = got(server)
        if kind == "mixpanel":
            # Events and profiles go to endpoints of their own, at the same time.
            records = sorted(records, key=lambda record: "$token" in record)
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
            daemon.wait_for_lane(kind, _FLUSHED, pending=0)
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
        daemon.wait_for_lane(kind, _FLUSHED, pending=0)
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


def test_lanes_of_one_kind_have_their_own_keys_batches_and_retries(tmp_path: Path, status: Status) -> None:
    with ProviderServer("key-of-the-shop") as shop, ProviderServer("key-of-the-app") as app:
        shop.always(Reply(503))
        app.script(Reply(503))
        tables = [
            lane("shop", shop, "mixpanel", batch={"size": 5}, retry={"max_attempts": 1}),
            lane("app", app, "mixpanel", batch={"size": 20}, in_flight=1),
            # Another's key: it is this lane alone that stops.
            lane("wrong", shop, "mixpanel", api_key="key-of-the-app"),
        ]
        with start(tmp_path, *tables) as daemon, front_door(daemon.address) as stub:
            send(stub, [tracked()] * 60)
            assert daemon.wait_for_lane("shop", "lane down")["failures"] == 1
            shop.recover()
            daemon.wait_for_lane("wrong", "lane down", state="stopped")
            for name in ("shop", "app"):
                daemon.wait_for_lane(name, _FLUSHED, pending=0)
            told = by_name(status(daemon))

    assert {name: (found["kind"], found["delivered"]) for name, found in told.items()} == {
        "shop": ("mixpanel", 60),
        "app": ("mixpanel", 60),
        "wrong": ("mixpanel", 0),
    }
    assert max(len(one.records) for one in shop.requests if one.status == 200) == 5
    assert [len(one.records) for one in app.requests] == [20] * 4
    assert not any(log["event"] == "lane down" for log in daemon.logs if log.get("lane") == "app")


#: Providers.md 2.1, 3.1 and 4.1.
_HOSTS = {
    ("mixpanel", None): "api.mixpanel.com",
    ("mixpanel", "us"): "api.mixpanel.com",
    ("mixpanel", "eu"): "api-eu.mixpanel.com",
    ("mixpanel", "in"): "api-in.mixpanel.com",
    ("amplitude", None): "api2.amplitude.com",
    ("amplitude", "eu"): "api.eu.amplitude.com",
    ("segment", None): "api.segment.io",
    ("segment", "eu"): "events.eu1.segmentapis.com",
}


def test_a_region_by_name_is_the_host_that_a_lane_connects_to(tmp_path: Path, spoolctl: Run) -> None:
    """Through a proxy, which is asked for the host by its name; it refuses, and nothing leaves this machine."""
    with ProviderServer("w" * 32) as proxy:
        tables = [
            lane(f"{kind}-{region or 'default'}", proxy, kind, endpoint=None, region=region, proxy=proxy.url)
            for kind, region in _HOSTS
        ]
        with start(tmp_path, *tables) as daemon, front_door(daemon.address) as stub:
            send(stub, [tracked()] * 50)
            for (kind, region), host in _HOSTS.items():
                said = daemon.wait_for_lane(f"{kind}-{region or 'default'}", "batch send failed, retrying")["reason"]
                assert f"{host}:443 (proxy 127.0.0.1:{proxy.port})" in said
            config = spoolctl("config", "--json", daemon=daemon).stdout

    assert {request.target for request in proxy.requests} == {f"{host}:443" for host in _HOSTS.values()}
    assert '{"key": "providers.mixpanel-eu.region", "value": "eu"' in config


def test_a_region_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with ProviderServer() as server:
        tables = lane("mixpanel", server, endpoint=None, region="mars")
        daemon = start(tmp_path, tables, lane("webhook", server, api_key=None, endpoint=None, region="eu"))
        assert daemon.end() == 2

    error = str(daemon.logs)
    assert "providers.mixpanel.region" in error
    assert "must be one of eu, in, us" in error
    assert "providers.webhook.region" in error


def test_a_lane_that_purges_says_what_it_gave_up_and_loses_no_more(
    tmp_path: Path, servers: Services, status: Status
) -> None:
    """A lane that is down gives up its oldest events, and no other lane loses any."""
    down, well = servers["webhook"], servers["mixpanel"]
    down.always(Reply(503))
    with start_small(tmp_path, down, well) as daemon, patient_door(daemon.address) as stub:
        with front_door(daemon.address) as hasty:
            ids, refused = fill(hasty)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        said = daemon.wait_for_lane("webhook", "events purged")
        down.recover()
        daemon.wait_for_lane("webhook", _FLUSHED, pending=0)
        logged = len(daemon.logs)
        ids += send(stub, [tracked()])
        daemon.wait_for_lane("webhook", _FLUSHED, since=logged, pending=0)
        well.wait_until(lambda: well.event_count == len(ids))
        told = by_name(status(daemon))
        page = scrape(daemon)

    purged, delivered = told["webhook"]["purged"], told["webhook"]["delivered"]
    assert 0 < said["event_count"] <= purged
    assert (purged + delivered, told["webhook"]["pending"]) == (len(ids), 0)
    assert f'spoold_events_purged_total{{lane="webhook"}} {float(purged)}' in page
    assert sum(log["event_count"] for log in daemon.logs if log["event"] == "events purged") == purged
    # The oldest were given up.
    assert down.events_by_insert_id.keys() == set(ids[purged:])
    assert (told["mixpanel"]["purged"], told["mixpanel"]["delivered"]) == (0, len(ids))


def test_a_lane_that_purges_keeps_the_door_open_for_a_client_that_repeats(tmp_path: Path, servers: Services) -> None:
    down, well = servers["webhook"], servers["mixpanel"]
    down.always(Reply(503))
    with start_small(tmp_path, down, well) as daemon, patient_door(daemon.address) as stub:
        with front_door(daemon.address) as hasty:
            fill(hasty)
        for _ in range(3):
            send(stub, [_KILOBYTE] * 500)


_KILOBYTE = tracked(properties=values(text="x" * 1000))


def patient_door(address: str) -> AbstractContextManager[Stub]:
    """A client that repeats what was refused four times, a second apart, as the README advises."""
    waits = {"initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1}
    policy = {"maxAttempts": 5, "retryableStatusCodes": ["RESOURCE_EXHAUSTED"], **waits}
    config = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]})
    # gRPC repeats no message that is larger than this.
    room = ("grpc.per_rpc_retry_buffer_size", 4 * 1024 * 1024)
    return front_door(address, ("grpc.service_config", config), room)


def start_small(home: Path, down: ProviderServer, well: ProviderServer) -> DaemonProcess:
    """A spool of some 3000 events of a kilobyte, a lane that gives up events for room, and one that need not."""
    spool = table("spool", max_bytes="4MiB", min_free_bytes="1MiB")
    tables = [spool, lane("webhook", down, when_full="purge"), lane("mixpanel", well)]
    return start(home, *tables, METRICS_ADDRESS="127.0.0.1:0")


def fill(stub: Stub) -> tuple[list[str], grpc.RpcError]:
    """Send until the door refuses; the ids, and what it says."""
    ids: list[str] = []
    for _ in range(100):
        try:
            ids += send(stub, [_KILOBYTE] * 100)
        except grpc.RpcError as error:
            return ids, error
    raise AssertionError("the spool took three times its limit")


def scrape(daemon: DaemonProcess) -> str:
    address = daemon.wait_for_log("metrics listening")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        text: str = page.read().decode()
    return text


@pytest.mark.parametrize(("key", "doubts"), [("aB3" * 10 + "xY", 0), ("a-key-of-mixpanel-perhaps", 1), ("k3y", 1)])
def test_a_write_key_that_does_not_look_like_one_is_warned_of_and_not_shown(
    tmp_path: Path, servers: Services, key: str, doubts: int
) -> None:
    with start(tmp_path, lane("segment", servers["segment"], api_key=None, write_key=key)) as daemon:
        warnings = [str(log["warning"]) for log in daemon.logs if log["event"] == "configuration"]
        told = str(daemon.logs)

    doubting = [warning for warning in warnings if "does not look like a write key of Segment" in warning]
    assert len(doubting) == doubts
    assert all(warning.startswith("providers.segment.write_key (file ") for warning in doubting)
    assert key not in told
