"""A bad day at every provider: whatever it answers, or does not, all arrives in the end, repeated only in doubt."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door
from tests.support.provider_server import (
    Action,
    CloseAfterReading,
    CloseBeforeReading,
    Drip,
    Hang,
    ProviderServer,
    Raw,
    Reply,
    Request,
)
from tests.support.services import (
    KINDS,
    Services,
    by_name,
    lanes,
    send,
    services,
    start,
    tracked,
    values,
    wait_for_events,
)

Json = dict[str, Any]
Run = Callable[..., "CompletedProcess[str]"]

_FLUSHED = "batch flushed successfully"
_FAILED = "batch send failed, retrying"


class Day:
    """A daemon with a lane for each kind, and a client of it."""

    def __init__(self, servers: Services, daemon: DaemonProcess, stub: Stub) -> None:
        self.servers = servers
        self.daemon = daemon
        self._stub = stub
        self.sent: set[str] = set()

    def send(self, count: int, size: int = 0, user_id: str = "u-81") -> None:
        item = tracked(user_id=user_id, properties=values(text="x" * size))
        self.sent |= set(send(self._stub, [item] * count))

    def wait_for_all(self) -> None:
        """Until each server has all that was sent."""
        wait_for_events(self.servers, self.sent)

    def duplicates(self) -> dict[str, int]:
        return {kind: server.duplicate_count for kind, server in self.servers.items()}


@pytest.fixture(scope="module")
def long_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """One daemon for one fault after the other."""
    with services() as servers:
        tables = lanes(servers, timeout="1s", retry={"max_attempts": 3})
        with start(tmp_path_factory.mktemp("day"), tables) as daemon, front_door(daemon.address) as stub:
            yield Day(servers, daemon, stub)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_FAULTS: dict[str, Action] = {
    "500": Reply(500, b"<html>oops</html>"),
    "502": Reply(502),
    "503 with Retry-After": Reply(503, b"", {"Retry-After": "3600"}),
    "408": Reply(408),
    "429": Reply(429, {"error": "slow down"}),
    "429 with Retry-After": Reply(429, b"", {"Retry-After": "3600"}),
    "a truncated reply": Raw(_HEAD + b'Content-Length: 500\r\n\r\n{"code":200,'),
    "no HTTP": Raw(b"\x00\x01\x02 what?\r\n\r\n"),
    "an endless body": Drip(_HEAD + b"\r\n"),
    "an endless head": Drip(_HEAD, b"x"),
    "hung up before": CloseBeforeReading(),
    "a captive portal": Reply(200, b"<html>Sign in to the hotel</html>"),
}
#: To a webhook any 2xx is a success (providers.md 5).
_NO_FAULT = ("webhook", "a captive portal")


@pytest.mark.parametrize("fault", _FAULTS)
def test_what_was_surely_not_taken_arrives_once(long_day: Day, spoolctl: Run, fault: str) -> None:
    before, logged = long_day.duplicates(), len(long_day.daemon.logs)
    kinds = [kind for kind in KINDS if (kind, fault) != _NO_FAULT]
    for kind in kinds:
        long_day.servers[kind].always(_FAULTS[fault])
    # One request a lane, so that nothing is under way when the operator speaks.
    long_day.send(50)
    for kind in kinds:
        long_day.daemon.wait_for_lane(kind, _FAILED, since=logged)
        long_day.servers[kind].recover()
    # Nobody waits out an hour.
    assert spoolctl("lanes", "flush", daemon=long_day.daemon).returncode == 0

    long_day.wait_for_all()
    for kind in KINDS:
        long_day.daemon.wait_for_lane(kind, _FLUSHED, since=logged, pending=0)
    assert long_day.duplicates() == before


def test_what_hung_up_after_reading_is_repeated_and_known_again(long_day: Day) -> None:
    before, logged = long_day.duplicates(), len(long_day.daemon.logs)
    for server in long_day.servers.values():
        server.script(CloseAfterReading())
    long_day.send(50)
    for kind in KINDS:
        long_day.daemon.wait_for_lane(kind, _FLUSHED, since=logged, pending=0)
    long_day.wait_for_all()

    assert long_day.duplicates() == {kind: count + 50 for kind, count in before.items()}


def test_a_reply_after_the_time_out_is_repeated_and_known_again(long_day: Day) -> None:
    before, release = long_day.duplicates(), threading.Event()
    logged = len(long_day.daemon.logs)
    for server in long_day.servers.values():
        server.script(Hang(release, answers=True))
    long_day.send(50)
    for kind in KINDS:
        assert "within 1 s" in long_day.daemon.wait_for_lane(kind, _FAILED, since=logged)["reason"]
    long_day.wait_for_all()
    release.set()
    for kind, server in long_day.servers.items():
        server.wait_until(lambda kind=kind: long_day.duplicates()[kind] == before[kind] + 50)  # type: ignore[misc]
        long_day.daemon.wait_for_lane(kind, _FLUSHED, since=logged, pending=0)

    assert all(not server.changed for server in long_day.servers.values())


def test_a_redirect_stops_the_lane_and_an_operator_starts_it_again(long_day: Day, spoolctl: Run) -> None:
    before, logged = long_day.duplicates(), len(long_day.daemon.logs)
    elsewhere = Reply(302, b"", {"Location": "http://127.0.0.1:1/import"})
    for server in long_day.servers.values():
        server.always(elsewhere)
    long_day.send(50)
    for kind, server in long_day.servers.items():
        said = long_day.daemon.wait_for_lane(kind, "lane down", since=logged, state="stopped")
        assert "a redirect, which is never followed" in said["reason"]
        server.recover()
        assert spoolctl("lanes", "resume", kind, daemon=long_day.daemon).returncode == 0
    long_day.wait_for_all()

    assert long_day.duplicates() == before


@pytest.fixture
def servers() -> Iterator[Services]:
    with services() as started:
        yield started


_MOST_BYTES = 20_000


def test_413_halves_requests_and_the_smaller_cap_is_remembered(tmp_path: Path, servers: Services) -> None:
    for server in servers.values():
        server.overrule = lambda request: Reply(413, b"too large") if len(request.body) > _MOST_BYTES else None
    with start(tmp_path, lanes(servers)) as daemon, front_door(daemon.address) as stub:
        day = Day(servers, daemon, stub)
        day.send(200, size=1000)
        day.wait_for_all()
        refused = {kind: _refused(server) for kind, server in servers.items()}
        later = {kind: server.request_count for kind, server in servers.items()}
        day.send(200, size=1000)
        day.wait_for_all()

    for kind, server in servers.items():
        assert refused[kind] > 0
        assert _refused(server) == refused[kind], kind
        # No smaller than it has to be, either.
        assert max(len(one.body) for one in server.requests[later[kind] :]) > _MOST_BYTES // 3
        assert server.duplicate_count == 0


def _refused(server: ProviderServer) -> int:
    return sum(one.status == 413 for one in server.requests)


#: For a user that sends too fast, and for one whose day is used up (providers.md 3.5).
_TOO_MANY: dict[str, Callable[[list[int]], Json]] = {
    "throttled": lambda indexes: {"throttled_users": {"u-busy": 31}, "throttled_events": indexes},
    "the daily quota is used up": lambda _: {"exceeded_daily_quota_users": {"u-busy": 1}},
}


@pytest.mark.parametrize("why", _TOO_MANY)
def test_the_events_of_a_busy_user_come_later_and_the_lane_runs_on(
    tmp_path: Path, spoolctl: Run, status: Callable[[DaemonProcess], Json], why: str
) -> None:
    def too_many(request: Request) -> Reply | None:
        busy = [index for index, event in enumerate(request.records) if event.get("user_id") == "u-busy"]
        told = {"code": 429, "error": "Too many requests for some devices and users", "eps_threshold": 30}
        return Reply(429, told | _TOO_MANY[why](busy)) if busy else None

    with services(["amplitude"]) as servers, start(tmp_path, lanes(servers)) as daemon:
        server = servers["amplitude"]
        server.overrule = too_many
        with front_door(daemon.address) as stub:
            send(stub, [tracked(user_id="u-busy" if number % 5 == 0 else "u-81") for number in range(50)])
            server.wait_until(lambda: server.event_count == 40)
            send(stub, [tracked()] * 50)
            server.wait_until(lambda: server.event_count == 90)
            reason = daemon.wait_for_lane("amplitude", "events deferred", event_count=10)["reason"]
            daemon.wait_for_lane("amplitude", _FLUSHED, pending=10, event_count=50)
            waiting = by_name(status(daemon))["amplitude"]
            server.overrule = None
            spoolctl("lanes", "flush", "amplitude", daemon=daemon)
            server.wait_until(lambda: server.event_count == 100)
            daemon.wait_for_lane("amplitude", _FLUSHED, pending=0)

    assert why in reason
    assert (waiting["state"], waiting["pending"], waiting["deferred"]) == ("idle", 10, 10)
    assert (waiting["delivered"], waiting["failures"], waiting["dead"]) == (90, 0, 0)
    # Twice the first: with the busy user's, and without.
    assert [len(one.records) for one in server.requests] == [50, 40, 50, 10]
    assert server.duplicate_count == 0
