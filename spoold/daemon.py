"""The daemon: the one place that knows all parts, how they start and in which order they stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import uvloop

from spoold import __version__
from spoold.admin.server import AdminServer
from spoold.admin.servicer import AdminServicer
from spoold.clock import Clock, Entropy
from spoold.config import Config, LoadedConfig, describe_config
from spoold.config_reload import ReloadResult
from spoold.delivery.fleet import Fleet
from spoold.door_hours import DoorHours
from spoold.errors import ConfigError, SpoolCorruptError, SpooldError, SpoolFullError
from spoold.gauges import CommitMetrics, read_gauges
from spoold.ingest.server import IngestServer, IngestSettings
from spoold.ledger_watch import LedgerWatch
from spoold.log import configure_logging, get_logger, register_secrets
from spoold.memory import give_back_memory
from spoold.metrics import Metrics, MetricsServer
from spoold.runtime import Loop, ThreadSignal, make_lock, on_signal
from spoold.salvage_log import SalvageLog
from spoold.spool.damage import open_store
from spoold.spool.directory import load_namespace, prepare_directory
from spoold.spool.housekeeping import Housekeeper
from spoold.spool.local import LocalSpool
from spoold.spool.lock import DirectoryLock
from spoold.spool.quarantine import mark_damaged
from spoold.spool.salvage import Salvager
from spoold.spool.salvaged import Salvage
from spoold.spool.space import Space, SpaceLimits
from spoold.spool.values import SpoolStats
from spoold.systemd import ServiceManager, keep_alive, starting, status_line

#: Calls in flight when everything else is done; each has its commit or its refusal by then.
_INGEST_GRACE_SECONDS = 1.0
_ADMIN_GRACE_SECONDS = 1.0
#: A thread that died is started again after a pause, so that a fault that stays does not spin.
_RESTART_SECONDS = 1.0

_log = get_logger("spoold")


def spool_directory(config: Config) -> Path:
    """Where the events are. Test mode has its own: a live spool's events must never be "delivered" to nowhere."""
    return config.spool.directory / "test" if config.test_mode else config.spool.directory


class Daemon:
    """One running spoold.

    Start: lock, spool, writer, admin, housekeeping, metrics, lanes, ingest. Each part is registered for its end as it
    starts, and they end in reverse: no more appends, the final flush, the listener, and so on. Admin outlives the
    lanes, so that ``spoolctl status`` shows the drain. One end that fails does not keep the others from theirs.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        clock: Clock,
        entropy: Entropy,
        manager: ServiceManager,
        reread: Callable[[LoadedConfig], ReloadResult],
    ) -> None:
        """Prepare.

        Args:
            manager: Who is told how it goes.
            reread: Reads the configuration again, for a daemon that runs with this one; raises ConfigError.
        """
        self._loaded = loaded
        self._manager = manager
        self._reread = reread
        self._reloads = asyncio.Lock()
        self._reload_tasks: set[asyncio.Task[None]] = set()
        self._config = loaded.config
        self._clock = clock
        self._entropy = entropy
        self._metrics = Metrics()
        self._started_at = clock.monotonic()
        self._stats: SpoolStats | None = None
        self._ledger = LedgerWatch()
        self._door = DoorHours(clock, self._metrics)
        self._is_draining = False
        self._wake_salvager: Callable[[], None] = lambda: None
        self._failure: BaseException | None = None
        #: A lane's thread hangs in a name lookup and could not be ended: leave the process without joining it.
        self.has_hanging_thread = False

    def run(self) -> None:
        """Serve until a signal comes.

        Raises:
            SpooldError: It could not start, or the spool failed. Everything else was stopped in order.
        """
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())
        if self._failure is not None:
            raise self._failure

    @property
    def condition(self) -> str:
        """``healthy``, ``degraded`` (a lane is out, damage was found, or I2 is broken), ``full`` or ``draining``."""
        if self._is_draining:
            return "draining"
        if self._stats is not None and self._stats.refusing is not None:
            return "full"
        is_damaged = self._stats is not None and self._stats.is_damaged
        return "degraded" if is_damaged or not self._ledger.is_ok or self._fleet.is_any_out else "healthy"

    def request_stop(self) -> None:
        """Stop in order; a second call cuts the final flush short. On the loop's thread."""
        if self._stop.is_set():
            self._hurry.set()
        else:
            _log.info("Shutdown signal received")
            self._manager.stopping()
            self._stop.set()

    def request_reload(self) -> None:
        """Read the configuration again. On the loop's thread."""
        _log.info("reload signal received")
        # Kept: the loop itself holds its tasks weakly.
        self._reload_tasks.add(task := self._loop.create_task(self._reload_in_turn()))
        task.add_done_callback(self._reload_tasks.discard)

    async def _reload_in_turn(self) -> None:
        await self._is_started.wait()
        async with self._reloads:
            if self._is_draining:
                return
            self._manager.reloading(self._clock.monotonic())
            try:
                result = await asyncio.to_thread(self._reread, self._loaded)
                register_secrets(result.loaded.config.secrets)
                await asyncio.to_thread(self._fleet.apply, result.loaded.config)
                self._take(result)
            except ConfigError as exc:
                _log.error("configuration kept: the new one can't be used", error=str(exc))
            except SpooldError as exc:
                # The next reload takes up where this one ended.
                _log.error("the lanes could not be changed", error=str(exc))
            finally:
                self._manager.ready()

    def _take(self, result: ReloadResult) -> None:
        """Go on with what can change while the daemon runs; the lanes have changed already."""
        self._loaded = result.loaded
        self._config = config = result.loaded.config
        configure_logging(config.log.level, config.log.format, sys.stdout)
        self._spool.limit(
            SpaceLimits(config.spool.max_bytes, config.spool.min_free_bytes),
            retention_seconds=config.spool.retention_seconds,
        )
        self._ingest.limit_events(config.ingest.max_event_bytes)
        for warning in result.warnings:
            _log.warning("configuration", warning=warning)
        _log.info(
            "configuration reloaded",
            changed=list(result.changed),
            lanes_added=list(result.added),
            lanes_removed=list(result.removed),
            lanes_changed=list(result.altered),
        )

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_started = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, self._loop, self.request_stop)
        on_signal(signal.SIGHUP, self._loop, self.request_reload)
        config = self._config
        directory = spool_directory(config)
        prepare_directory(directory)
        async with AsyncExitStack() as stack:
            stack.enter_context(DirectoryLock(directory))
            namespace = config.ingest.id_namespace or load_namespace(directory, self._entropy)
            self._start_spool(directory, stack)
            self._fleet = Fleet(
                config,
                self._spool,
                self._metrics,
                clock=self._clock,
                entropy=self._entropy,
                on_death=self._lane_died,
            )
            self._ingest = self._make_ingest(namespace)
            await self._start_admin(stack)
            self._start_housekeeping(stack)
            self._start_metrics(stack)
            # The door stays and says UNAVAILABLE: a server that stops answers CANCELLED, which no client repeats.
            stack.push_async_callback(self._ingest.stop, _INGEST_GRACE_SECONDS)
            self._fleet.start()
            stack.push_async_callback(self._flush_finally)
            await self._ingest.start()
            # Behind the open door: what a damaged spool held is brought over beside live traffic.
            self._start_salvage(directory, stack)
            stack.push_async_callback(self._close_door)
            _log.info("listening", address=self._ingest.address, test_mode=config.test_mode, version=__version__)
            self._is_started.set()
            self._manager.ready()
            await self._stop.wait()
            self._is_draining = True
        _log.info("stopped")

    def _start_spool(self, directory: Path, stack: AsyncExitStack) -> None:
        config = self._config.spool
        space = Space(directory, SpaceLimits(config.max_bytes, config.min_free_bytes))
        with starting(self._manager, self._clock):
            opened = open_store(directory, space, self._clock, self._entropy, durability=config.durability)
        if (moved := opened.quarantined) is not None:
            _log.error("spool quarantined", path=str(moved.folder), reason=moved.reason, bytes=moved.bytes)
        self._spool = LocalSpool(
            opened.store,
            space,
            self._clock,
            self._entropy,
            directory=directory,
            retention_seconds=config.retention_seconds,
            observer=CommitMetrics(self._metrics),
            lock=make_lock(),
            make_signal=ThreadSignal,
            on_damage=self._found_damage,
        )
        stack.callback(self._spool.close)
        writer = self._start_loop("writer", self._spool.commits.step, stack)
        self._spool.commits.wake = writer.wake
        stack.callback(self._loop.create_task(keep_alive(self._manager, lambda: writer.busy_seconds)).cancel)

    def _start_housekeeping(self, stack: AsyncExitStack) -> None:
        housekeeper = Housekeeper(self._spool, self._look, self._ledger.take)
        # Once before anybody is served: a spool that is full at the start must say so.
        housekeeper.step(self._clock.monotonic())
        self._start_loop("housekeeper", housekeeper.step, stack, is_background=True)

    def _start_salvage(self, directory: Path, stack: AsyncExitStack) -> None:
        salvager = Salvager(self._spool, directory, self._clock, SalvageLog())
        stack.callback(salvager.close)
        loop = self._start_loop("salvager", salvager.step, stack, is_background=True, on_death=self._salvage_died)
        self._wake_salvager = loop.wake

    def _begin_salvage(self, folder: Path) -> Salvage:
        salvage = self._spool.begin_salvage(folder)
        _log.info("salvage begun", source=salvage.source)
        self._wake_salvager()
        return salvage

    def _start_loop(
        self,
        name: str,
        step: Callable[[float], float | None],
        stack: AsyncExitStack,
        *,
        is_background: bool = False,
        on_death: Callable[[str, BaseException], None] | None = None,
    ) -> Loop:
        loop = Loop(name, step, self._clock, on_death=on_death or self._part_died, is_background=is_background)
        stack.callback(loop.join)
        stack.callback(loop.request_stop)
        loop.start()
        return loop

    def _make_ingest(self, namespace: UUID) -> IngestServer:
        config = self._config.ingest
        settings = IngestSettings(
            host=config.host, port=config.port, unix_socket=config.socket, max_event_bytes=config.max_event_bytes
        )
        return IngestServer(
            self._spool,
            settings,
            id_namespace=namespace,
            clock=self._clock,
            metrics=self._metrics,
            condition=lambda: self.condition,
            queue_size=lambda: max((lane.pending for lane in self._spool.lanes()), default=0),
            on_death=self._part_died,
        )

    async def _start_admin(self, stack: AsyncExitStack) -> None:
        servicer = AdminServicer(
            self._spool,
            lanes=lambda: self._fleet.lanes,
            describe=lambda: describe_config(self._loaded),
            condition=lambda: self.condition,
            audit=lambda: self._ledger.audit,
            hours=lambda: self._door.hours,
            begin_salvage=self._begin_salvage,
            clock=self._clock,
            address=lambda: self._ingest.address,
            started_at=self._started_at,
            pid=os.getpid(),
            test_mode=self._config.test_mode,
        )
        server = AdminServer(self._config.admin.socket, servicer)
        await server.start()
        stack.push_async_callback(server.stop, _ADMIN_GRACE_SECONDS)

    def _start_metrics(self, stack: AsyncExitStack) -> None:
        address = self._config.metrics.host_and_port
        if address is None:
            return
        gauges = read_gauges(self._spool, lambda: self._fleet.lanes, self._clock, lambda: self._ledger.audit)
        self._metrics.add_gauges(gauges)
        host, port = address
        server = stack.enter_context(MetricsServer(self._metrics, host, port))
        _log.info("metrics listening", address=server.address)

    async def _close_door(self) -> None:
        self._is_draining = True
        self._ingest.set_serving(False)
        await asyncio.to_thread(self._spool.stop_accepting)

    async def _flush_finally(self) -> None:
        self._is_draining = True
        async with self._reloads:
            # Lanes that are being changed must be there to be stopped.
            await self._flush_lanes()

    async def _flush_lanes(self) -> None:
        # On a disk that failed nothing can be settled: what were sent now would be sent again.
        budget_seconds = self._config.shutdown_timeout_seconds if self._failure is None else 0.0
        deadline = self._clock.monotonic() + budget_seconds
        self._fleet.request_stop(deadline)
        joined = asyncio.create_task(asyncio.to_thread(self._fleet.join, deadline))
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({joined, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        self.has_hanging_thread = not await asyncio.to_thread(self._fleet.abort)
        await joined

    def _look(self, stats: SpoolStats) -> None:
        # Called once on the loop's own thread, then on the housekeeper's.
        self._door.look()
        give_back_memory()
        was_refusing = None if self._stats is None else self._stats.refusing
        self._stats = stats
        lanes = [(name, lane.state) for name, lane in self._fleet.lanes.items()]
        self._manager.status(status_line(self.condition, stats, lanes))
        if stats.refusing != was_refusing:
            if stats.refusing is not None:
                _log.error(
                    "spool full", reason=stats.refusing, bytes=stats.bytes, disk_free_bytes=stats.disk_free_bytes
                )
            else:
                _log.info("spool has room again", bytes=stats.bytes)
            self._loop.call_soon_threadsafe(self._ingest.set_serving, stats.refusing is None)

    def _part_died(self, name: str, error: BaseException) -> None:
        # Recovery is the next start: what was committed is on disk, what was not has been answered with the failure.
        _log.error("a part died", part=name, error=str(error), kind=type(error).__name__)
        if isinstance(error, SpoolCorruptError):
            self._found_damage(error)
            return
        self._failure = error
        self._loop.call_soon_threadsafe(self._stop.set)

    def _found_damage(self, error: SpoolCorruptError) -> None:
        # From any thread. The next start moves the spool aside; this one ends in order, and settles nothing more.
        directory = spool_directory(self._config)
        try:
            mark_damaged(directory, str(error))
        except OSError as exc:
            _log.error("the damage can't be noted for the next start", path=str(directory), error=str(exc))
        if self._failure is None:
            _log.error("spool damaged", path=str(directory), error=str(error))
        self._failure = error
        self._loop.call_soon_threadsafe(self._stop.set)

    def _salvage_died(self, name: str, error: BaseException) -> None:
        # What is left of an old spool must not end a sound one; the writer's own end is told by the writer.
        _log.error("the salvage ended", part=name, error=str(error), kind=type(error).__name__)

    def _lane_died(self, name: str, error: BaseException) -> None:
        _log.error("a lane died", lane=name, error=str(error), kind=type(error).__name__)
        asyncio.run_coroutine_threadsafe(self._restart_lane(name), self._loop)

    async def _restart_lane(self, name: str) -> None:
        await asyncio.sleep(_RESTART_SECONDS)
        async with self._reloads:
            # Beside a reload or the final flush it would be nobody's to stop.
            if not self._is_draining:
                try:
                    await asyncio.to_thread(self._fleet.restart, name)
                except SpoolFullError as exc:
                    # Its claim has no room: another try.
                    self._lane_died(name, exc)
