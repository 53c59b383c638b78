"""What each method of ``spoold.admin.v1.AdminService`` answers.

Whatever touches the disk runs on a worker thread, never on the loop that serves ingest (I6).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias
from uuid import UUID

import grpc
import orjson

from spoold import __version__
from spoold.api.spoold.admin.v1 import admin_pb2, admin_pb2_grpc
from spoold.clock import Clock
from spoold.errors import SpoolError
from spoold.spool.contract import LaneState, Spool, SpoolStats

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"

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


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Reads the daemon; changes nothing.

    Args:
        lanes: The running lanes by name.
        describe: The configuration in force: key, JSON value, source.
        condition: ``healthy``, ``degraded``, ``full`` or ``draining``.
        address: Where ingest listens.
        started_at: Monotonic seconds.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        lanes: Callable[[], Mapping[str, LaneView]],
        describe: Callable[[], Sequence[tuple[str, object, str]]],
        condition: Callable[[], str],
        clock: Clock,
        address: Callable[[], str],
        started_at: float,
        pid: int,
        test_mode: bool,
    ) -> None:
        self._spool = spool
        self._lanes = lanes
        self._describe = describe
        self._condition = condition
        self._clock = clock
        self._address = address
        self._started_at = started_at
        self._pid = pid
        self._test_mode = test_mode

    async def GetStatus(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.GetStatusRequest, context: Context
    ) -> admin_pb2.GetStatusReply:
        """The daemon, the spool and the lanes at a glance."""
        del request
        try:
            return await asyncio.to_thread(self._status)
        except SpoolError as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))

    async def GetConfig(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.GetConfigRequest, context: Context
    ) -> admin_pb2.GetConfigReply:
        """The configuration in force."""
        del request, context
        values = [
            admin_pb2.ConfigValue(key=key, value=orjson.dumps(value).decode(), source=source)
            for key, value, source in self._describe()
        ]
        return admin_pb2.GetConfigReply(values=values)

    async def GetStory(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.GetStoryRequest, context: Context
    ) -> admin_pb2.GetStoryReply:
        """What became of one event."""
        try:
            event_id = UUID(request.event_id).bytes
        except ValueError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"event_id: {request.event_id!r} is no UUID")
        try:
            story = await asyncio.to_thread(self._spool.find, event_id)
        except SpoolError as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))
        if story is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"the journal does not hold {request.event_id}")
        lanes = [admin_pb2.LaneFate(lane=lane.lane, fate=lane.fate, reason=lane.reason) for lane in story.lanes]
        return admin_pb2.GetStoryReply(seq=story.event.seq, lanes=lanes)

    def _status(self) -> admin_pb2.GetStatusReply:
        now = self._clock.monotonic()
        daemon = admin_pb2.DaemonStatus(
            state=_DAEMON_STATES.get(self._condition(), "serving"),
            version=__version__,
            pid=self._pid,
            uptime_seconds=now - self._started_at,
            address=self._address(),
            test_mode=self._test_mode,
        )
        running = self._lanes()
        lanes = [self._lane_status(state, running.get(state.name), now) for state in self._spool.lanes()]
        return admin_pb2.GetStatusReply(daemon=daemon, spool=self._spool_status(self._spool.stats()), lanes=lanes)

    def _lane_status(self, state: LaneState, lane: LaneView | None, now: float) -> admin_pb2.LaneStatus:
        next_at = None if lane is None or state.is_closed else lane.next_attempt_at
        return admin_pb2.LaneStatus(
            name=state.name,
            kind=state.kind,
            state="closed" if state.is_closed else "idle" if lane is None else lane.state,
            accepted=state.accepted,
            pending=state.pending,
            delivered=state.delivered,
            dead=state.dead,
            filtered=state.filtered,
            purged=state.purged,
            failures=state.retry.failures,
            next_attempt_seconds=None if next_at is None else max(0.0, next_at - now),
            last_error=state.retry.last_error or None,
            oldest_pending_seconds=self._age(self._spool.oldest_pending_at_ms(state.name)),
        )

    def _spool_status(self, stats: SpoolStats) -> admin_pb2.SpoolStatus:
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
        )

    def _age(self, at_ms: int | None) -> float | None:
        """How long ago; never negative, however the clock was set."""
        return None if at_ms is None else max(0.0, (self._clock.wall_ms() - at_ms) / 1000)
