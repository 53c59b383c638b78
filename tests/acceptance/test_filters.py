"""A lane sees its filter's view of the events; the journal and the other lanes have the originals."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from spoold.api.analytics.v1 import service_pb2
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door
from tests.support.provider_server import ProviderServer, Reply
from tests.support.services import Services, by_name, identified, lane, send, services, start, tracked, values

Json = dict[str, Any]
Status = Callable[[DaemonProcess], Json]
Run = Callable[..., "CompletedProcess[str]"]

_FLUSHED = "batch flushed successfully"
_CUSTOMER = {"email": "ann@example.org", "ssn": "078-05-1120"}
_PROPERTIES = {"email": "ann@example.org", "card": "4111", "amount": 12.5, "source": "app", "customer": _CUSTOMER}
_KEYS: Json = {
    "include": ["Order *", "Page Seen"],
    "exclude": ["Order Draft"],
    "drop": ["card"],
    "redact": ["email", "*.ssn"],
    "add": {"source": "spool", "site": 7, "is_test": False},
}
_SEEN = {
    "email": "[redacted]",
    "amount": 12.5,
    "source": "app",
    "customer": {"email": "ann@example.org", "ssn": "[redacted]"},
    "site": 7,
    "is_test": False,
}
_PROFILE = {"email": "ann@example.org", "card": "4111", "plan": "pro", "phone": None}


@pytest.fixture
def servers() -> Iterator[Services]:
    with services(["segment", "webhook"]) as started:
        yield started


def a_mixture() -> list[service_pb2.BatchItem]:
    """Two events that the filter lets pass, two that it keeps back, and a profile."""
    tracks = ["Order Paid", "Order Draft", "Page Seen", "Login"]
    items = [tracked(name, properties=values(**_PROPERTIES)) for name in tracks]
    return [*items, identified(properties=values(**_PROFILE))]


def properties_of(server: ProviderServer) -> list[tuple[str, Json]]:
    """What a webhook or Segment got: names, empty for profiles, and properties."""
    return [
        (record.get("event") or record.get("event_name") or "", record.get("properties") or record["traits"])
        for request in server.requests
        for record in request.records
    ]


_ALL = [(name, _PROPERTIES) for name in ("Order Paid", "Order Draft", "Page Seen", "Login")] + [("", _PROFILE)]


def test_a_lane_gets_its_view_another_one_and_a_replay_the_originals(
    tmp_path: Path, servers: Services, status: Status, spoolctl: Run
) -> None:
    filtered = lane("marketing", servers["segment"], "segment", batch={"size": 5}, **_KEYS)
    open_lane = lane("archive", servers["webhook"], "webhook", batch={"size": 5})
    with start(tmp_path, filtered, open_lane) as daemon, front_door(daemon.address) as stub:
        send(stub, a_mixture())
        for name in ("marketing", "archive"):
            daemon.wait_for_lane(name, _FLUSHED, pending=0)
        seen, originals = properties_of(servers["segment"]), properties_of(servers["webhook"])
        told = by_name(status(daemon))
        again = spoolctl("replay", "--lane", "archive", "--since", "1h", "--watch", daemon=daemon)
        same = spoolctl("replay", "--lane", "marketing", "--since", "1h", "--watch", daemon=daemon)

    assert seen == [
        ("Order Paid", _SEEN),
        ("Page Seen", _SEEN),
        ("", {"email": "[redacted]", "plan": "pro", "phone": None}),
    ]
    assert originals == _ALL
    marketing, archive = told["marketing"], told["archive"]
    assert [marketing[term] for term in ("accepted", "delivered", "filtered", "pending", "dead")] == [5, 3, 2, 0, 0]
    assert [archive[term] for term in ("accepted", "delivered", "filtered", "pending", "dead")] == [5, 5, 0, 0, 0]
    assert (again.returncode, same.returncode) == (0, 0), again.stderr + same.stderr
    # The filter holds for what is sent again as well.
    assert properties_of(servers["webhook"]) == _ALL * 2
    assert properties_of(servers["segment"]) == seen * 2


def test_a_lane_that_lets_nothing_pass_settles_all_and_sends_nothing(
    tmp_path: Path, servers: Services, status: Status
) -> None:
    table = lane("none", servers["segment"], "segment", exclude=["*", "$identify"], batch={"size": 5})
    other = lane("archive", servers["webhook"], "webhook", batch={"size": 5})
    with start(tmp_path, table, other) as daemon, front_door(daemon.address) as stub:
        for _ in range(20):
            send(stub, a_mixture())
        servers["webhook"].wait_until(lambda: servers["webhook"].event_count == 100)
        daemon.stop()
    with start(tmp_path, table, other) as daemon:
        told = by_name(status(daemon))["none"]

    assert [told[term] for term in ("accepted", "filtered", "pending", "delivered")] == [100, 100, 0, 0]
    assert servers["segment"].request_count == 0


def test_a_dead_letter_shows_the_original_and_is_sent_as_the_filter_has_it(
    tmp_path: Path, servers: Services, spoolctl: Run
) -> None:
    server = servers["segment"]
    server.script(Reply(400, b"Bad Request"))
    with start(tmp_path, lane("segment", server, batch={"size": 1}, **_KEYS)) as daemon:
        with front_door(daemon.address) as stub:
            send(stub, a_mixture()[:1])
        daemon.wait_for_lane("segment", "dead letter")
        letter = json.loads(spoolctl("dead", "list", "--json", daemon=daemon).stdout)
        spoolctl("replay", "--lane", "segment", "--dead", daemon=daemon)
        daemon.wait_for_lane("segment", _FLUSHED, pending=0)

    assert letter["properties"] == _PROPERTIES
    assert properties_of(server) == [("Order Paid", _SEEN)] * 2


def test_a_filter_that_comes_with_a_restart_is_for_what_is_still_pending(
    tmp_path: Path, servers: Services, status: Status
) -> None:
    server = servers["webhook"]
    server.always(Reply(503))
    with start(tmp_path, lane("webhook", server, batch={"size": 5})) as daemon, front_door(daemon.address) as stub:
        send(stub, a_mixture())
        daemon.wait_for_lane("webhook", "lane down")
        daemon.kill()
    server.recover()
    with start(tmp_path, lane("webhook", server, batch={"size": 5}, **_KEYS)) as daemon:
        daemon.wait_for_lane("webhook", _FLUSHED, pending=0)
        (told,) = status(daemon)["lanes"]

    assert [told[term] for term in ("accepted", "delivered", "filtered", "pending")] == [5, 3, 2, 0]
    taken = [record["event_name"] for record in server.events_by_insert_id.values()]
    assert taken == ["Order Paid", "Page Seen", ""]
