"""All lanes of a daemon: opened from the configuration, each on a thread of its own (I5), stopped together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spoold.clock import Clock, Entropy
from spoold.config import Config, LaneConfig
from spoold.delivery.backoff import RetryPolicy
from spoold.delivery.filter import EventFilter
from spoold.delivery.flusher import Flusher
from spoold.delivery.lane import Lane, LaneSettings
from spoold.delivery.report import LaneReport
from spoold.delivery.sender import HttpSender, Sender, TestModeSender
from spoold.errors import SpoolClosedError
from spoold.log import get_logger
from spoold.metrics import Metrics
from spoold.providers.base import Provider
from spoold.providers.http import HttpTransport
from spoold.providers.registry import Kinds, build_provider
from spoold.runtime import Loop, Workers
from spoold.spool.contract import Spool

_OUT = ("down", "stopped")
#: Requests under way have this long when their lane is changed.
_CHANGE_SECONDS = 5.0
#: A thread whose send was cut short has this long to end.
_ABORT_SECONDS = 2.0

_log = get_logger("spoold.delivery")


@dataclass(slots=True)
class _Runner:
    config: LaneConfig
    provider: Provider
    flusher: Flusher
    loop: Loop
    workers: Workers


class Fleet:
    """The lanes that run. Built and stopped on one thread; the views may be read from any."""

    def __init__(
        self,
        config: Config,
        spool: Spool,
        metrics: Metrics,
        *,
        clock: Clock,
        entropy: Entropy,
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        """Build the providers; nothing runs yet.

        Raises:
            ConfigError: A provider can't be built from its configuration.
        """
        self._config = config
        self._spool = spool
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy
        self._on_death = on_death
        self._providers = {lane.name: _build(lane) for lane in config.lanes}
        self._runners: dict[str, _Runner] = {}

    def start(self) -> None:
        """Open the configured lanes, close the others, and start a thread for each."""
        self._close_others()
        for lane in self._config.lanes:
            self._open(lane)

    def apply(self, config: Config) -> None:
        """Go on with another configuration: only lanes that it changes are stopped, and started anew.

        Blocks for as long as requests under way take, at most some seconds; what is cut short is repeated.

        Raises:
            ConfigError: A provider can't be built; everything goes on as before.
        """
        old = {name: runner.config for name, runner in self._runners.items()}
        new = {lane.name: lane for lane in config.lanes}
        changed = [lane for name, lane in new.items() if old.get(name) != lane]
        built = {lane.name: _build(lane) for lane in changed}
        gone = [name for name, lane in old.items() if new.get(name) != lane]
        self._stop(gone)
        self._config = config
        self._providers = {name: built.get(name) or self._providers[name] for name in new}
        self._close_others()
        for lane in changed:
            self._open(lane)

    def restart(self, name: str) -> None:
        """Give a lane whose thread died a new one. It takes up where the spool says."""
        runner = self._runners.get(name)
        if runner is None or not runner.loop.join(0.0):
            # Meanwhile another configuration has come.
            return
        self._end(runner)
        self._start_lane(runner.config)

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The running lanes by name."""
        return {name: runner.flusher.lane for name, runner in self._runners.items()}

    @property
    def is_any_out(self) -> bool:
        """Whether a lane is down or stopped."""
        return any(lane.state in _OUT for lane in self.lanes.values())

    def request_stop(self, deadline: float) -> None:
        """Ask every lane for its final flush until ``deadline`` (monotonic seconds)."""
        for runner in self._runners.values():
            runner.flusher.request_stop(deadline)

    def join(self, deadline: float) -> bool:
        """Wait until ``deadline`` for every lane to end; False when one has not."""
        has_ended = True
        for runner in self._runners.values():
            has_ended &= runner.loop.join(max(0.0, deadline - self._clock.monotonic()))
        return has_ended

    def abort(self) -> bool:
        """Cut short what still sends; what it carried stays pending. False when a thread still hangs."""
        for runner in self._runners.values():
            runner.loop.request_stop()
            runner.flusher.abort()
        deadline = self._clock.monotonic() + _ABORT_SECONDS
        has_ended = self.join(deadline)
        for runner in self._runners.values():
            has_ended &= runner.workers.close(max(0.0, deadline - self._clock.monotonic()))
            runner.flusher.close()
        return has_ended

    def _close_others(self) -> None:
        for state in self._spool.lanes():
            if state.name not in self._providers and not state.is_closed:
                closed = self._spool.close_lane(state.name)
                _log.warning("lane closed", lane=closed.name, pending=closed.pending)

    def _open(self, lane: LaneConfig) -> None:
        state = self._spool.open_lane(lane.name, lane.kind, lane.start)
        if state.missed:
            # Those it will not get by itself: the operator may want them.
            command = f"spoolctl replay --lane {lane.name} --since ..."
            _log.warning("lane reopened", lane=lane.name, missed=state.missed, pending=state.pending, replay=command)
        self._start_lane(lane)

    def _stop(self, names: Sequence[str]) -> None:
        runners = [self._runners[name] for name in names]
        deadline = self._clock.monotonic() + _CHANGE_SECONDS
        for runner in runners:
            runner.flusher.request_stop(deadline, flushes=False)
        for runner in runners:
            runner.loop.join(max(0.0, deadline - self._clock.monotonic()) + _ABORT_SECONDS)
            self._end(runner)
        self._runners = {name: runner for name, runner in self._runners.items() if name not in names}

    def _end(self, runner: _Runner) -> None:
        runner.loop.request_stop()
        runner.flusher.abort()
        runner.workers.close(_ABORT_SECONDS)
        runner.flusher.close()

    def _start_lane(self, config: LaneConfig) -> None:
        report = LaneReport(config.name, _log, self._metrics)
        provider = self._providers[config.name]
        lane = Lane(
            config.name,
            self._spool,
            provider,
            _settings(config),
            report,
            clock=self._clock,
            entropy=self._entropy,
        )
        workers = Workers(f"send-{config.name}", config.in_flight)
        flusher = Flusher(lane, self._sender(config, provider), self._spool, self._clock, workers.submit)
        loop = Loop(
            f"lane-{config.name}",
            flusher.step,
            self._clock,
            on_death=lambda _thread, error: self._died(config.name, error),
            wait=flusher.wait,
            wake=flusher.wake,
            is_background=True,
        )
        flusher.on_done = loop.request_stop
        self._runners = {**self._runners, config.name: _Runner(config, provider, flusher, loop, workers)}
        loop.start()

    def _died(self, name: str, error: BaseException) -> None:
        # At the very end the store closes under a send that was cut short: what it carried stays pending.
        if not isinstance(error, SpoolClosedError):
            self._on_death(name, error)

    def _sender(self, lane: LaneConfig, provider: Provider) -> Sender:
        if self._config.test_mode:
            return TestModeSender(_log.bind(lane=lane.name))
        transport = HttpTransport(
            clock=self._clock,
            timeout_seconds=lane.timeout_seconds,
            ca_file=None if lane.ca_file is None else str(lane.ca_file),
            proxy=lane.proxy,
        )
        return HttpSender(provider, transport, self._clock)


def _build(lane: LaneConfig) -> Provider:
    kind = Kinds()[lane.kind]
    return build_provider(lane.kind, kind, lane.provider_settings(kind))


def _settings(lane: LaneConfig) -> LaneSettings:
    retry = lane.retry
    return LaneSettings(
        batch_size=lane.batch.size,
        interval_seconds=lane.batch.interval_seconds,
        timeout_seconds=lane.timeout_seconds,
        retry=RetryPolicy(
            max_attempts=retry.max_attempts,
            initial_delay_seconds=retry.initial_delay_seconds,
            max_delay_seconds=retry.max_delay_seconds,
            max_retry_after_seconds=retry.max_retry_after_seconds,
        ),
        in_flight=lane.in_flight,
        when_full=lane.when_full,
        event_filter=EventFilter(
            include=lane.include, exclude=lane.exclude, drop=lane.drop, redact=lane.redact, add=lane.add
        ),
    )
