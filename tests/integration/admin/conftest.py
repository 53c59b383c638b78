"""A real admin server on a loop of its own, the real spool behind it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc
import pytest
import uvloop

from spoold.admin.server import AdminServer
from spoold.admin.servicer import AdminServicer
from spoold.api.spoold.admin.v1 import admin_pb2_grpc
from spoold.clock import Clock
from spoold.door_hours import DoorHour
from spoold.spool.balance import Audit
from tests.support.clock import FakeClock
from tests.support.spools import OpenSpool, running_spool


@dataclass
class LaneSight:
    """What a running lane shows."""

    state: str
    next_attempt_at: float | None = None


@dataclass
class Desk:
    """A running admin server, one client of it, and what the daemon would tell it.

    Attributes:
        asked_on: The names of the threads on which it asked for the lanes.
        noise: What asyncio would log: an exception that nobody retrieved, a callback that failed.
    """

    opened: OpenSpool
    path: Path
    clock: Clock
    started_at: float
    condition: str = "healthy"
    audit: Audit | None = None
    hours: tuple[DoorHour, ...] = ()
    address: str = "127.0.0.1:50054"
    lanes: dict[str, LaneSight] = field(default_factory=dict)
    config: list[tuple[str, object, str]] = field(default_factory=list)
    asked_on: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        servicer = AdminServicer(
            self.opened.spool,
            lanes=self._see_lanes,
            describe=lambda: self.config,
            condition=lambda: self.condition,
            audit=lambda: self.audit,
            hours=lambda: self.hours,
            begin_salvage=self.opened.spool.begin_salvage,
            clock=self.clock,
            address=lambda: self.address,
            started_at=self.started_at,
            pid=71,
            test_mode=True,
        )
        self.server = AdminServer(self.path, servicer)
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.noise.append(str(context)))
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop")
        self._thread.start()
        try:
            self.run(self.server.start())
        except BaseException:
            self._end_loop()
            raise
        self._channel = grpc.insecure_channel(f"unix:{self.path}")
        self.stub = admin_pb2_grpc.AdminServiceStub(self._channel)
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self.run(self.server.stop(5))
        self._end_loop()
        assert not self.noise

    def run(self, coroutine: "Coroutine[object, object, None]") -> None:
        """Run it on the server's loop."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def _see_lanes(self) -> dict[str, LaneSight]:
        self.asked_on.append(threading.current_thread().name)
        return self.lanes

    def _end_loop(self) -> None:
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


MakeDesk = Callable[[Path], Desk]


@pytest.fixture
def opened(state_dir: Path) -> Iterator[OpenSpool]:
    """A spool with its writer thread and one lane."""
    with running_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        yield opened


@pytest.fixture
def make_desk(opened: OpenSpool, clock: FakeClock) -> MakeDesk:
    """A server on the spool, not started, up for 12.5 s when it is."""
    return lambda path: Desk(opened, path, clock, started_at=clock.monotonic() - 12.5)


@pytest.fixture
def desk(make_desk: MakeDesk, tmp_path: Path) -> Iterator[Desk]:
    """A running one."""
    with make_desk(tmp_path / "admin.sock") as desk:
        yield desk
