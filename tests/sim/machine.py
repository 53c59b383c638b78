"""One life of the daemon in the simulated world: from opening the spool to a crash, a power cut or a clean stop.

It is put together from the real spool and the real delivery; only threads, time, randomness and the wire are the
world's. ``ingest`` is played by the world's clients.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from spoold.delivery.backoff import RetryPolicy
from spoold.delivery.batch import Call
from spoold.delivery.filter import EventFilter
from spoold.delivery.lane import Done, Lane, LaneSettings, Send, Wait
from spoold.delivery.report import LaneReport
from spoold.delivery.sender import Attempt, HttpSender
from spoold.log import Logger
from spoold.metrics import Metrics
from spoold.spool.damage import open_store
from spoold.spool.local import LocalSpool
from spoold.spool.rows import State
from spoold.spool.salvage import Salvager
from spoold.spool.salvaged import Salvage
from spoold.spool.space import Space, SpaceLimits
from tests.sim.parts import SimClock, SimEntropy, SimSignal, hold
from tests.sim.service import Service

RETRY = RetryPolicy(max_attempts=3, initial_delay_seconds=1.0, max_delay_seconds=30.0, max_retry_after_seconds=3600.0)
INTERVAL_SECONDS = 10.0
BATCH_SIZE = 10
RETENTION_SECONDS = 900.0
#: What some worlds' spools may hold: less than their clients hand in.
TIGHT_BYTES = (512 << 10, 1 << 20)
#: Small, so that checkpoints, reserves and limits are met within a few hundred events.
LIMITS = SpaceLimits(max_bytes=64 << 20, min_free_bytes=256 << 10)


class _Silence(Logger):
    """A world of a thousand lives says nothing."""

    __slots__ = ()

    def bind(self, **fields: object) -> "Logger":
        del fields
        return self

    def info(self, event: str, **fields: object) -> None:
        pass

    debug = warning = error = info


class _NoObserver:
    def committed(self, state: State, *, seconds: float, events: int) -> None:
        pass

    def checkpointed(self, seconds: float) -> None:
        pass


class _SalvageReport:
    def done(self, salvage: Salvage) -> None:
        pass

    def unreadable(self, salvage: Salvage, reason: str) -> None:
        hold("what was moved aside can be read", False, salvage, reason)


@dataclass
class SimLane:
    """A lane and the requests that it waits for, each with the longest time for its answer."""

    lane: Lane
    sender: HttpSender
    service: Service
    in_flight: dict[Call, float] = field(default_factory=dict)
    wake_at: float = 0.0
    is_done: bool = False

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of events that its filter keeps back."""
        return self.service.hidden

    @property
    def purges(self) -> bool:
        """Whether it gives up its oldest events when there is no room."""
        return self.service.purges


class Machine:
    """Opens the spool in ``directory`` and runs its parts step by step."""

    def __init__(
        self,
        directory: Path,
        services: dict[str, Service],
        clock: SimClock,
        entropy: SimEntropy,
        *,
        free_bytes: Callable[[], int],
        limits: SpaceLimits = LIMITS,
        durability: str = "fsync",
        wait_for_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self._wait_for_room = wait_for_room
        self.space = Space(directory, limits, free=lambda _: free_bytes())
        opened = open_store(directory, self.space, clock, entropy, durability=durability)
        self.store = opened.store
        self.quarantined = opened.quarantined
        self.spool = LocalSpool(
            self.store,
            self.space,
            clock,
            entropy,
            directory=directory,
            retention_seconds=RETENTION_SECONDS,
            observer=_NoObserver(),
            lock=nullcontext(),
            make_signal=SimSignal,
            drive=self.commit,
        )
        self.salvager = Salvager(self.spool, directory, clock, _SalvageReport())
        self.lanes: dict[str, SimLane] = {}
        metrics = Metrics()
        for state in self.spool.lanes():
            if state.name not in services:
                self.spool.close_lane(state.name)
        for name, service in services.items():
            self.spool.open_lane(name, service.dialect.kind, "latest")
            provider = service.dialect.provider()
            lane = Lane(
                name,
                self.spool,
                provider,
                LaneSettings(
                    BATCH_SIZE,
                    INTERVAL_SECONDS,
                    30.0,
                    RETRY,
                    when_full="purge" if service.purges else "refuse",
                    event_filter=EventFilter(exclude=service.hidden),
                ),
                LaneReport(name, _Silence({}), metrics),
                clock=clock,
                entropy=entropy,
            )
            sender = HttpSender(provider, service, clock)  # type: ignore[arg-type]
            self.lanes[name] = SimLane(lane, sender, service)

    def commit(self) -> None:
        """One turn of the writer's loop, and whatever it takes until what waits for room has it.

        Raises when the disk failed: the process ends there.
        """
        self.spool.commits.step(self.clock.now)
        while self.spool.commits.is_held:
            self._wait_for_room()
            self.spool.commits.step(self.clock.now)

    def flush(self) -> None:
        """Turns of the writer's loop until nothing waits."""
        self.spool.commits.flush(self.clock.now)

    def step(self, sim: SimLane) -> Send | Wait | Done:
        """One turn of a lane's loop."""
        action = sim.lane.step(self.clock.now)
        if isinstance(action, Send):
            sim.in_flight[action.call] = action.timeout_seconds
        elif isinstance(action, Done):
            sim.is_done = True
        return action

    def send(self, sim: SimLane, call: Call) -> Attempt:
        """A request of a lane reaches the wire, and something comes back."""
        return sim.sender.send(call, sim.in_flight[call])

    def reply(self, sim: SimLane, call: Call, attempt: Attempt) -> None:
        """The lane learns what came back."""
        del sim.in_flight[call]
        sim.lane.on_reply(call, attempt, self.clock.now)

    def request_stop(self, budget_seconds: float) -> None:
        """SIGTERM: no more appends, a final flush."""
        self.spool.stop_accepting()
        for sim in self.lanes.values():
            sim.lane.request_stop(self.clock.now + budget_seconds)

    def close(self) -> None:
        """The end of an orderly stop; after a crash, what the kernel would do."""
        self.salvager.close()
        self.spool.close()
