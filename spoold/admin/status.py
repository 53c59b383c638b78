"""The daemon, the spool and the lanes at a glance, as ``spoolctl status`` shows them."""

from collections.abc import Callable, Mapping
from typing import Protocol

from spoold import __version__
from spoold.admin.audit import imbalance_messages
from spoold.admin.salvages import salvage_message
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import Clock
from spoold.spool.balance import Audit
from spoold.spool.contract import Spool
from spoold.spool.values import LaneState, SpoolStats

_DAEMON_STATES = {"full": "full", "draining": "draining"}


class LaneView(Protocol):
    """What is shown of a running lane."""

    @property
    def state(self) -> str:
        """In one word."""
        ...

    @property
    def next_attempt_at(self) -> float | None:
        """Monotonic seconds, while it waits out a failure."""
        ...


class StatusReader:
    """Reads the daemon; changes nothing. Looks at the disk, so it belongs on a worker thread.

    Args:
        lanes: The running lanes by name.
        condition: ``healthy``, ``degraded``, ``full`` or ``draining``.
        audit: The last one that came to its end.
        address: Where ingest listens.
        started_at: Monotonic seconds.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        lanes: Callable[[], Mapping[str, LaneView]],
        condition: Callable[[], str],
        audit: Callable[[], Audit | None],
        clock: Clock,
        address: Callable[[], str],
        started_at: float,
        pid: int,
        test_mode: bool,
    ) -> None:
        self._spool = spool
        self._lanes = lanes
        self._condition = condition
        self._audit = audit
        self._clock = clock
        self._address = address
        self._started_at = started_at
        self._pid = pid
        self._test_mode = test_mode

    def status(self) -> admin_pb2.GetStatusReply:
        """Everything at a glance.

        Raises:
            SpoolError: The spool can't be read.
        """
        daemon = admin_pb2.DaemonStatus(
            state=_DAEMON_STATES.get(self._condition(), "serving"),
            version=__version__,
            pid=self._pid,
            uptime_seconds=self._clock.monotonic() - self._started_at,
            address=self._address(),
            test_mode=self._test_mode,
        )
        running = self._lanes()
        lanes = [self._lane(state, running.get(state.name)) for state in self._spool.lanes()]
        return admin_pb2.GetStatusReply(daemon=daemon, spool=self._spool_status(self._spool.stats()), lanes=lanes)

    def lane(self, state: LaneState) -> admin_pb2.LaneStatus:
        """One lane, which stands as ``state`` says. Raises as ``status`` does."""
        return self._lane(state, self._lanes().get(state.name))

    def _lane(self, state: LaneState, lane: LaneView | None) -> admin_pb2.LaneStatus:
        is_trying = lane is not None and not (state.is_closed or state.is_paused)
        next_at = lane.next_attempt_at if lane is not None and is_trying else None
        return admin_pb2.LaneStatus(
            name=state.name,
            kind=state.kind,
            state=state.word(None if lane is None else lane.state),
            accepted=state.accepted,
            pending=state.pending,
            delivered=state.delivered,
            dead=state.dead,
            filtered=state.filtered,
            purged=state.purged,
            failures=state.retry.failures,
            next_attempt_seconds=None if next_at is None else max(0.0, next_at - self._clock.monotonic()),
            last_error=state.retry.last_error or None,
            oldest_pending_seconds=self._age(self._spool.oldest_pending_at_ms(state.name)),
            deferred=state.deferred,
        )

    def _spool_status(self, stats: SpoolStats) -> admin_pb2.SpoolStatus:
        audit = self._audit()
        return admin_pb2.SpoolStatus(
            accepted=stats.accepted,
            pending=stats.pending,
            retained=stats.retained,
            bytes=stats.bytes,
            max_bytes=stats.max_bytes,
            oldest_pending_seconds=self._age(stats.oldest_pending_at_ms),
            duplicates=stats.duplicates,
            disk_free_bytes=stats.disk_free_bytes,
            wal_bytes=stats.wal_bytes,
            dead_bytes=stats.dead_bytes,
            damaged=stats.damaged,
            refusing=stats.refusing or "",
            imbalances=[] if audit is None else imbalance_messages(audit),
            salvages=map(salvage_message, stats.salvages),
        )

    def _age(self, at_ms: int | None) -> float | None:
        """How long ago; never negative, however the clock was set."""
        return None if at_ms is None else max(0.0, (self._clock.wall_ms() - at_ms) / 1000)
