"""How lanes of every kind come back: after an outage, a mended endpoint, a refusal that passes or is accepted."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door
from tests.support.provider_server import Reply
from tests.support.services import (
    KINDS,
    Services,
    by_name,
    configured,
    endpoint,
    lane,
    lanes,
    send,
    services,
    start,
    tracked,
    wait_for_events,
)

Json = dict[str, Any]
Status = Callable[[DaemonProcess], Json]
Run = Callable[..., "CompletedProcess[str]"]

_FLUSHED = "batch flushed successfully"
_PROBE_EVENTS = 10


@pytest.fixture
def servers() -> Iterator[Services]:
    with services() as started:
        yield started


def test_after_an_outage_requests_grow_step_by_step(tmp_path: Path, servers: Services) -> None:
    for server in servers.values():
        server.always(Reply(503))
    with start(tmp_path, lanes(servers)) as daemon, front_door(daemon.address) as stub:
        ids = [event_id for _ in range(3) for event_id in send(stub, [tracked()] * 500)]
        for kind in servers:
            assert daemon.wait_for_lane(kind, "lane down")["state"] == "down"
        logged = len(daemon.logs)
        for server in servers.values():
            server.recover()
        wait_for_events(servers, ids)
        recovered = {kind: daemon.wait_for_lane(kind, "lane recovered", since=logged) for kind in servers}

    for kind, server in servers.items():
        assert recovered[kind]["failures"] >= 5
        assert server.duplicate_count == 0
        sizes = [len(one.records) for one in server.requests if one.status in (200, 204)]
        assert_grows_gently(sizes, kind)


def assert_grows_gently(sizes: list[int], kind: str) -> None:
    if kind == "webhook":
        # What shares a request was decided before the outage, and stays (providers.md 8).
        assert sizes == [50] * 30
        return
    assert sizes[0] <= _PROBE_EVENTS
    for number, size in enumerate(sizes):
        assert size <= sizes[0] * 2**number, sizes
    # And they do grow: at 10 a request it would be 150 requests.
    assert len(sizes) < 40, sizes


def test_a_wrong_endpoint_is_mended_on_the_way(tmp_path: Path, servers: Services) -> None:
    """TLS to a server that speaks none, and a name that does not resolve: in both nothing was sent."""

    def moved(scheme: str, host: str) -> str:
        return "".join(
            lane(kind, server, endpoint=endpoint(kind, server, f"{scheme}://{host}:{server.port}"))
            for kind, server in servers.items()
        )

    def reload(*tables: str) -> int:
        logged = len(daemon.logs)
        configured(tmp_path, *tables)
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_until(lambda log: log.get("event") == "configuration reloaded", "reload", since=logged)
        return logged

    with start(tmp_path, moved("https", "127.0.0.1")) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 60)
        for kind, server in servers.items():
            assert daemon.wait_for_lane(kind, "lane down")["reason"].startswith(f"TLS with 127.0.0.1:{server.port}")
        logged = reload(moved("http", "nowhere.invalid"))
        for kind in servers:
            daemon.wait_until(
                lambda log, kind=kind: (  # type: ignore[misc]
                    log.get("lane") == kind and "cannot resolve the name of nowhere.invalid" in log.get("reason", "")
                ),
                "a name that does not resolve",
                since=logged,
            )
        logged = reload(lanes(servers))
        wait_for_events(servers, ids)
        for kind in servers:
            daemon.wait_for_lane(kind, "lane recovered", since=logged)

    assert [server.duplicate_count for server in servers.values()] == [0] * len(KINDS)


@pytest.mark.parametrize(
    "kinds",
    [
        ["mixpanel", "segment", "webhook"],
        # Here a 403 can be about one event (providers.md 5), so it takes several to stop the lane.
        ["amplitude"],
    ],
)
def test_a_403_that_passes_is_healed_by_a_probe_and_nothing_is_dead(
    tmp_path: Path, servers: Services, status: Status, spoolctl: Run, kinds: list[str]
) -> None:
    """By itself the probe would come after five minutes."""
    servers = {kind: servers[kind] for kind in kinds}
    for server in servers.values():
        server.always(Reply(403, b"Forbidden"))
    with start(tmp_path, lanes(servers)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 60)
        for kind in servers:
            daemon.wait_for_lane(kind, "lane down", state="stopped")
        stopped = by_name(status(daemon))
        for kind, server in servers.items():
            server.recover()
            assert spoolctl("lanes", "resume", kind, daemon=daemon).returncode == 0
            daemon.wait_for_lane(kind, "lane recovered")
            daemon.wait_for_lane(kind, _FLUSHED, pending=0)
        healed = by_name(status(daemon))

    for kind, server in servers.items():
        assert (stopped[kind]["state"], stopped[kind]["pending"], stopped[kind]["dead"]) == ("stopped", 60, 0), kind
        assert "HTTP 403: Forbidden" in stopped[kind]["last_error"]
        assert 240 < stopped[kind]["next_attempt_seconds"] <= 300
        assert (healed[kind]["state"], healed[kind]["delivered"], healed[kind]["dead"]) == ("idle", 60, 0), kind
        assert server.duplicate_count == 0
    wait_for_events(servers, ids)


@pytest.mark.parametrize("kind", ["amplitude", "segment", "webhook"])
def test_refusals_alike_stop_a_lane_are_accepted_and_sent_again(
    tmp_path: Path, servers: Services, status: Status, spoolctl: Run, kind: str
) -> None:
    server = servers[kind]
    server.always(Reply(400, {"code": 400, "error": "no"}))
    with start(tmp_path, lane(kind, server)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 60)
        said = daemon.wait_for_lane(kind, "lane down", state="stopped")
        stopped = by_name(status(daemon))[kind]
        logged = len(daemon.logs)
        spoolctl("lanes", "resume", kind, "--accept-dead", daemon=daemon)
        daemon.wait_until(
            lambda _: len({log["seq"] for log in daemon.logs[logged:] if log["event"] == "dead letter"}) == len(ids),
            "60 dead letters",
        )
        dead = by_name(status(daemon))[kind]
        server.recover()
        again = spoolctl("replay", "--lane", kind, "--dead", daemon=daemon)
        wait_for_events({kind: server}, ids)

    assert said["reason"].startswith("20 events in a row were refused alike: HTTP 400")
    assert (stopped["pending"], stopped["dead"]) == (60, 0)
    assert (dead["pending"], dead["dead"]) == (0, 60)
    assert again.returncode == 0, again.stderr
    assert server.duplicate_count == 0
