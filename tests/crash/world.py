"""A daemon's surroundings: three providers, its home, and what is asked of it when it comes back from the dead."""

import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.record import Event
from spoold.spool.balance import Audit
from spoold.spool.offline import OfflineSpool, open_offline
from spoold.spool.values import DeadEvent
from tests.crash.book import BAD_NAME, LATE_USER, Book, BrokenPromiseError, check_arrived, check_dead, missing
from tests.crash.desk import LANES, Admin, admin, command
from tests.crash.points import Point
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door
from tests.support.provider_server import Reply, Request
from tests.support.provider_taken import Refusal
from tests.support.provider_wire import Json
from tests.support.services import Services, configured, lane, services, table

_ROOT = Path(__file__).parents[2]
_DRAIN_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_DEAD_PAGE = 1000


class DyingDaemon(DaemonProcess):
    """A daemon that kills itself at the point that is its first argument."""

    program = (sys.executable, "-m", "tests.crash.child")


class World:
    """Three providers that misbehave in the way of each, and a spool that daemon after daemon opens."""

    def __init__(self, home: Path, servers: Services, spool: str, *, purging: str) -> None:
        self.home = home
        self.servers = servers
        self.purging = purging
        servers["mixpanel"].refuse = _refuse
        servers["amplitude"].overrule = _put_off
        keys: dict[str, dict[str, str]] = {purging: {"when_full": "purge"}}
        tables = [lane(kind, server, start="earliest", **keys.get(kind, {})) for kind, server in servers.items()]
        self._arguments = configured(home, spool, *tables)
        self._environment = {"TEST_MODE": "", "PYTHONPATH": str(_ROOT)}

    @property
    def spool_dir(self) -> Path:
        return self.home / "spool"

    def daemon(self, *, batch_size: int = 10, interval_seconds: int = 1) -> DaemonProcess:
        """The real one; use it as a context."""
        return DaemonProcess(self.home, *self._arguments, **self._batches(batch_size, interval_seconds))

    def dying(self, point: Point, *, batch_size: int = 10, interval_seconds: int = 1) -> DyingDaemon:
        """One that will not get past ``point``."""
        return DyingDaemon(self.home, point.name, *self._arguments, **self._batches(batch_size, interval_seconds))

    def recover(self, book: Book) -> int:
        """Start again, repeat what is in doubt, let everything drain, and hold the promises against what arrived.

        Returns:
            How many events arrived, over all providers.

        Raises:
            BrokenPromiseError: One does not hold.
        """
        for server in self.servers.values():
            server.recover()
        self.servers["amplitude"].overrule = None
        with self.daemon() as daemon, front_door(daemon.address) as stub:
            if self.purging:
                # Full as it is, it has to shrink before it takes anything.
                self._drain(daemon)
            fresh = book.draw(ids="uuid", is_plain=True)
            for call in [*book.take_doubts(), fresh]:
                if not book.carry(call, stub):
                    numbers = [sent.number for sent in call.events]
                    raise BrokenPromiseError(f"refused after the restart: {numbers}")
            with admin(daemon) as operator:
                # Whoever paused a lane may have died before the word to go on; what was put off is due at once.
                command(operator, "resume")
                for kind in LANES:
                    if kind != self.purging:
                        self._wait_for_all(kind, book)
                _wait_for_replays(daemon, operator, book.replays)
            if self.purging:
                self._drain(daemon)
            if (code := daemon.stop()) != 0:
                raise BrokenPromiseError(f"a stop in order ended with {code}: {daemon.logs[-10:]}")
        self._check_spool(book)
        return sum(check_arrived(book, kind, self.servers[kind]) for kind in LANES)

    def _wait_for_all(self, kind: str, book: Book) -> None:
        server = self.servers[kind]
        try:
            server.wait_until(lambda: not missing(book, kind, server), _DRAIN_SECONDS)
        except AssertionError as exc:
            lost = sorted(missing(book, kind, server))
            raise BrokenPromiseError(f"{kind} never got {len(lost)} acknowledged events: {lost[:5]}") from exc

    def _check_spool(self, book: Book) -> None:
        with open_offline(self.spool_dir) as offline:
            audit = _audit(offline)
            if not audit.is_ok:
                raise BrokenPromiseError(f"I2: {'; '.join(map(str, audit.imbalances))}")
            if pending := {lane.name: lane.pending for lane in offline.lanes() if lane.pending}:
                raise BrokenPromiseError(f"still pending after everything had arrived: {pending}")
            if (accepted := offline.state.spool.accepted) > len(book.sent):
                raise BrokenPromiseError(f"{accepted} events are in the spool, and {len(book.sent)} were sent")
            if (damaged := offline.state.spool.damaged) != len(book.damaged):
                raise BrokenPromiseError(f"{damaged} records are counted as damaged, not {len(book.damaged)}")
            for kind in LANES:
                letters = list(_dead(offline, kind))
                dead = [letter.event for letter in letters if isinstance(letter.event, Event)]
                check_dead(book, kind, dead, self.servers[kind])
                if len(letters) - len(dead) != len(book.damaged):
                    raise BrokenPromiseError(f"{kind} has set aside {letters}, and damaged were {book.damaged}")
            purged = {lane.name: lane.purged for lane in offline.lanes() if lane.purged}
            lost = len(missing(book, self.purging, self.servers[self.purging])) if self.purging else 0
            if purged.keys() > {self.purging} or lost > purged.get(self.purging, 0):
                raise BrokenPromiseError(f"{self.purging} never got {lost} events, and purged were {purged}")

    def _drain(self, daemon: DaemonProcess) -> None:
        """Until nothing is pending, and events are taken."""
        until = time.monotonic() + _DRAIN_SECONDS
        with admin(daemon) as operator:
            while time.monotonic() < until and daemon.process.poll() is None:
                status = operator.GetStatus(admin_pb2.GetStatusRequest(), timeout=_DRAIN_SECONDS)
                if not status.spool.refusing and not any(lane.pending for lane in status.lanes):
                    return
                with suppress(subprocess.TimeoutExpired):
                    daemon.process.wait(_LOOK_SECONDS)
        raise BrokenPromiseError(f"it does not empty itself: {daemon.logs[-10:]}")

    def _batches(self, size: int, interval_seconds: int) -> dict[str, str]:
        return {**self._environment, "BATCH_SIZE": str(size), "FLUSH_INTERVAL_SECONDS": str(interval_seconds)}


@contextmanager
def open_world(
    home: Path, *, retention: str = "0s", min_free_bytes: str = "256KiB", max_bytes: str = "1GiB", purging: str = ""
) -> Iterator[World]:
    """Three providers that answer, and nothing in the spool yet.

    Args:
        min_free_bytes: A checkpoint is due with every quarter of it: every 64 KiB.
        purging: The lane that gives up its oldest events when the spool is full.
    """
    spool = table("spool", retention=retention, min_free_bytes=min_free_bytes, max_bytes=max_bytes)
    with services(LANES) as servers:
        yield World(home, servers, spool, purging=purging)


def _wait_for_replays(daemon: DaemonProcess, operator: Admin, wanted: Collection[int]) -> None:
    """A replay goes on where it was, and comes to its end."""
    until = time.monotonic() + _DRAIN_SECONDS
    while "running" in (states := _replays(operator)).values():
        if time.monotonic() > until or daemon.process.poll() is not None:
            raise BrokenPromiseError(f"replays that do not end: {states}")
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(_LOOK_SECONDS)
    if any(states.get(number) != "done" for number in wanted):
        raise BrokenPromiseError(f"replays {wanted} were to be carried out: {states}")


def _replays(operator: Admin) -> dict[int, str]:
    found = operator.ListReplays(admin_pb2.ListReplaysRequest(), timeout=_DRAIN_SECONDS).replays
    return {replay.id: replay.state for replay in found}


def _refuse(record: Json) -> Refusal | None:
    return Refusal("event", "'event' is bad") if record.get("event") == BAD_NAME else None


def _put_off(request: Request) -> Reply | None:
    """Amplitude's answer where one user sends too much."""
    late = [number for number, record in enumerate(request.records) if record.get("user_id") == LATE_USER]
    told = {"code": 429, "error": "Too many requests for some devices and users", "throttled_events": late}
    return Reply(429, {**told, "throttled_users": {LATE_USER: 30}, "eps_threshold": 30}) if late else None


def _audit(offline: OfflineSpool) -> Audit:
    *_, (_, audit) = offline.audit()
    assert audit is not None
    return audit


def _dead(offline: OfflineSpool, lane: str) -> Iterator[DeadEvent]:
    after = 0
    while page := offline.dead(lane, after=after, max_events=_DEAD_PAGE):
        yield from page
        after = page[-1].event.seq
