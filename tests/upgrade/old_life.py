"""The life that leaves a fixture behind, run by the interpreter of the version that it is made with; see make_fixture.

    python -m tests.upgrade.old_life FORMAT DIRECTORY

Leaves in DIRECTORY the spool as a killed daemon leaves it (``killed``), as a stop in order leaves it (``stopped``), and
``known.json``: what callers were told, and what became of it.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from spoold.api.analytics.v1 import service_pb2
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door
from tests.support.mixpanel_rules import Refusal
from tests.support.provider_server import ProviderServer, Reply, Request
from tests.support.services import identified, lane, send, start, table, tracked, values
from tests.support.webhook_rules import secret_of

Json = dict[str, Any]
Servers = dict[str, ProviderServer]

#: The lanes: one that takes nearly everything, one that is down, one that left the configuration, one that defers, one
#: that is paused. The last two came with format 2.
KINDS = {"events": "mixpanel", "slow": "mixpanel", "gone": "mixpanel", "late": "amplitude", "paused": "webhook"}
#: In the past of any machine that will open the fixture.
_TIME_MS = 1_700_000_000_123
#: Not the lock, the index of a log, or what only takes room.
_FILES = ("spool.db", "spool.db-wal", "id_namespace")
_LATE_USER = "u-late"
#: Which of a lane's figures a fixture promises.
_TERMS = ("name", "kind", "state", "accepted", "pending", "delivered", "dead", "filtered", "purged")


class OldLife:
    """Callers, and a provider of each sort of trouble.

    Attributes:
        told: Event id → the request's bytes, of every event that was acknowledged.
    """

    def __init__(self, version: int, home: Path, services: Servers) -> None:
        self.told: dict[str, str] = {}
        self._version = version
        self._home = home
        self._servers = services
        self._number = 0

    def run(self) -> Json:
        """All of it; returns what is known."""
        gone = self._servers["gone"]
        self._servers["events"].refuse = _refuse_bad
        self._servers["late"].overrule = _put_off
        with self._daemon("events", "gone") as daemon:
            # Both lanes take these, so they are forgotten.
            self._send(daemon, self._events(6))
            self._wait(daemon, lambda status: status["spool"]["retained"] == status["spool"]["pending"] == 0)
            gone.always(Reply(503))
            # These stay with a lane whose provider leaves the configuration.
            self._send(daemon, self._events(3))
            self._wait(daemon, lambda status: status["spool"]["pending"] == 3)
            daemon.stop()
        names = ("events", "slow") if self._version == 1 else ("events", "slow", "late", "paused")
        with self._daemon(*names) as daemon:
            self._live_on(daemon, names)
            status = self._status(daemon)
            daemon.kill()
            known = {"lanes": [_terms(one) for one in status["lanes"]], "accepted": status["spool"]["accepted"]}
        self._keep("killed")
        with self._daemon(*names) as daemon:
            daemon.stop()
        self._keep("stopped")
        return {
            "format": self._version,
            "acknowledged": self.told,
            **known,
            "taken": {name: sorted(server.events_by_insert_id) for name, server in self._servers.items()},
            "profiles": {name: server.profiles for name, server in self._servers.items() if server.profiles},
        }

    def _live_on(self, daemon: DaemonProcess, names: Iterable[str]) -> None:
        if "paused" in names:
            spoolctl(daemon, "lanes", "pause", "paused")
        self._send(daemon, self._events(5))
        self._servers["slow"].wait_until(lambda: self._servers["slow"].event_count == 5)
        self._servers["slow"].always(Reply(503))
        self._send(daemon, self._one_of_each())
        with front_door(daemon.address) as stub:
            one = service_pb2.TrackEventRequest(event_name="Alone", user_id="u-1", timestamp_ms=_TIME_MS)
            self._note(stub.TrackEvent(one).event_id, one)
            profile = service_pb2.IdentifyUserRequest(user_id="u-2", properties=values(plan="pro"))
            self._note(stub.IdentifyUser(profile).event_id, profile)
        self._wait(daemon, lambda status: all(_is_done(one) for one in status["lanes"]))
        if self._version > 1:
            # A provider that gets an event again drops it.
            spoolctl(daemon, "replay", "--lane", "events", "--event", "Own Id")
            self._servers["events"].wait_until(lambda: self._servers["events"].duplicate_count == 1)

    def _one_of_each(self) -> list[service_pb2.BatchItem]:
        when: Json = {"timestamp_ms": _TIME_MS}
        # One property each: a map of several has no order that could be told.
        nested = values(cart={"code": "ä€😀"})
        return [
            tracked("Own Id", event_id="0b7c3b2e-52f0-4a86-9a55-4a2f6f4e9f10", **when),
            tracked("Own Words", event_id="order-81", properties=nested, **when),
            tracked("Nobody", "", anonymous_id="device-4f2a9", properties=values(gift=None), **when),
            tracked("Yes", properties=values(ok=True), **when),
            tracked("Bad", "u-3", **when),
            tracked("Bad", "u-4", **when),
            tracked("Late", _LATE_USER, **when),
            tracked("Late", _LATE_USER, event_id="018f0000-0000-7000-8000-000000000001", **when),
            tracked("Late In Seconds", "u-5", timestamp=_TIME_MS // 1000),
            identified("u-6", properties=values(plan="free"), event_id="profile-6"),
            *self._events(1),
        ]

    def _events(self, count: int) -> list[service_pb2.BatchItem]:
        self._number += count
        numbers = range(self._number - count, self._number)
        return [tracked(f"Event {number}", properties=values(n=number), timestamp_ms=_TIME_MS) for number in numbers]

    def _send(self, daemon: DaemonProcess, items: list[service_pb2.BatchItem]) -> None:
        with front_door(daemon.address) as stub:
            for event_id, item in zip(send(stub, items), items, strict=True):
                self._note(event_id, item.track if item.HasField("track") else item.identify)

    def _note(self, event_id: str, request: Any) -> None:
        self.told[event_id] = request.SerializeToString().hex()

    def _daemon(self, *names: str) -> DaemonProcess:
        return start(self._home, table("spool", retention="0s"), *lanes(self._servers, names))

    def _status(self, daemon: DaemonProcess) -> Json:
        status: Json = json.loads(spoolctl(daemon, "status", "--json"))
        return status

    def _wait(self, daemon: DaemonProcess, is_there: Callable[[Json], bool]) -> None:
        for _ in range(60):
            if is_there(status := self._status(daemon)):
                return
        raise AssertionError(f"it never came to that: {status}")

    def _keep(self, name: str) -> None:
        (self._home / name).mkdir()
        for file in _FILES:
            if (self._home / "spool" / file).exists():
                shutil.copy(self._home / "spool" / file, self._home / name)


def _is_done(lane: Json) -> bool:
    """Whether the lane has done what it can, and the slow one has met its 503."""
    left = {"late": 2, "paused": lane["accepted"], "slow": lane["accepted"] - 5}
    has_failed = lane["name"] != "slow" or lane["failures"] > 0
    is_done = has_failed and lane["pending"] == left.get(lane["name"], 0)
    return bool(is_done or lane["state"] == "closed")


def _terms(lane: Json) -> Json:
    # A lane that fails is in one state or another.
    state = "failing" if lane["state"] in {"backoff", "sending", "down"} else lane["state"]
    return {**{term: lane[term] for term in _TERMS}, "state": state}


def spoolctl(daemon: DaemonProcess, *arguments: str) -> str:
    """What it says of the daemon."""
    program = Path(sys.executable).with_name("spoolctl")
    command = [str(program), "--socket", str(daemon.admin_socket), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def servers() -> Iterator[Servers]:
    """A provider for each lane, by the lane's name."""
    with ExitStack() as stack:
        tokens = {
            name: secret_of(name.encode() * 8) if kind == "webhook" else f"{name}-token" for name, kind in KINDS.items()
        }
        yield {name: stack.enter_context(ProviderServer(token)) for name, token in tokens.items()}


def lanes(services: Servers, names: Iterable[str]) -> list[str]:
    """The configuration of these lanes."""
    return [lane(name, services[name], KINDS[name]) for name in names]


def _refuse_bad(record: Json) -> Refusal | None:
    return Refusal("event", "'event' is bad") if record.get("event") == "Bad" else None


def _put_off(request: Request) -> Reply | None:
    """Amplitude's answer where one user sends too much."""
    late = [number for number, record in enumerate(request.records) if record.get("user_id") == _LATE_USER]
    told = {"code": 429, "error": "Too many requests for some devices and users", "throttled_events": late}
    return Reply(429, {**told, "throttled_users": {_LATE_USER: 30}, "eps_threshold": 30}) if late else None


def main() -> None:
    """See the module."""
    home = Path(sys.argv[2])
    with servers() as services:
        known = OldLife(int(sys.argv[1]), home, services).run()
    (home / "known.json").write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
