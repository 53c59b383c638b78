"""What each method of ``spoold.admin.v1.AdminService`` answers.

Whatever touches the disk runs on a worker thread, page by page, never on the loop that serves ingest (I6).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import orjson

from spoold.admin.audit import audit_page, tally_page
from spoold.admin.dead import dead_of_event, dead_page
from spoold.admin.refusals import BadRequestError, Context, NotFoundError, work_off
from spoold.admin.replays import event_id_bytes, read_selection, replay_message
from spoold.admin.salvages import salvage_message
from spoold.admin.status import LaneView, StatusReader
from spoold.api.spoold.admin.v1 import admin_pb2, admin_pb2_grpc
from spoold.clock import Clock
from spoold.door_hours import DoorHour
from spoold.log import get_logger
from spoold.spool.balance import Audit, AuditPosition, TallyPosition
from spoold.spool.contract import Spool
from spoold.spool.salvaged import Salvage
from spoold.spool.values import Command

_COMMANDS: tuple[Command, ...] = ("pause", "resume", "flush", "accept_dead")
#: Events looked through before another call has its turn.
_COUNTED_EVENTS = 500
_AUDIT_PAUSE_SECONDS = 0.002

_log = get_logger("spoold.admin")


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Reads the daemon, and takes an operator's word.

    Args:
        lanes: The running lanes by name.
        describe: The configuration in force: key, JSON value, source.
        condition: ``healthy``, ``degraded``, ``full`` or ``draining``.
        audit: The last one that came to its end.
        hours: What was refused at the door, and sent twice, by the hour.
        begin_salvage: Has a damaged spool's folder salvaged; raises SpoolUnreadableError.
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
        audit: Callable[[], Audit | None],
        hours: Callable[[], Sequence[DoorHour]],
        begin_salvage: Callable[[Path], Salvage],
        clock: Clock,
        address: Callable[[], str],
        started_at: float,
        pid: int,
        test_mode: bool,
    ) -> None:
        self._spool = spool
        self._describe = describe
        self._hours = hours
        self._begin_salvage = begin_salvage
        self._status = StatusReader(
            spool,
            lanes=lanes,
            condition=condition,
            audit=audit,
            clock=clock,
            address=address,
            started_at=started_at,
            pid=pid,
            test_mode=test_mode,
        )

    async def GetStatus(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.GetStatusRequest, context: Context
    ) -> admin_pb2.GetStatusReply:
        """The daemon, the spool and the lanes at a glance."""
        del request
        return await work_off(context, self._status.status)

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
        return await work_off(context, self._story, request.event_id)

    async def CommandLane(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.CommandLaneRequest, context: Context
    ) -> admin_pb2.LaneStatus:
        """An operator's word to one lane; the answer is how it stands then."""
        return await work_off(context, self._command, request.lane, request.command)

    async def ListDead(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.ListDeadRequest, context: Context
    ) -> AsyncIterator[admin_pb2.DeadLetter]:
        """Dead letters, the oldest first within each lane."""
        if request.event_id:
            for letter in await work_off(context, self._dead_of, request.event_id, request.lane):
                yield letter
            return
        for lane in [request.lane] if request.lane else [state.name for state in self._spool.lanes()]:
            after = 0
            while page := await work_off(context, dead_page, self._spool, lane, after):
                for letter in page:
                    yield letter
                after = page[-1].seq

    async def CountEvents(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.Selection, context: Context
    ) -> AsyncIterator[admin_pb2.EventCount]:
        """How many events a selection holds, as far as it was looked through; the last message has ``is_end``."""
        selection = await work_off(context, read_selection, request)
        count, after, is_end = 0, None, False
        while not is_end:
            found = await work_off(context, self._spool.matches, selection, after, max_events=_COUNTED_EVENTS)
            count, after, is_end = count + len(found.events), found.after, found.is_end
            yield admin_pb2.EventCount(matched=count, progress=found.progress, is_end=is_end)

    async def StartReplay(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.Selection, context: Context
    ) -> admin_pb2.Replay:
        """Send again what a selection holds at this moment."""
        return await work_off(context, self._start_replay, request)

    async def ListReplays(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.ListReplaysRequest, context: Context
    ) -> admin_pb2.ListReplaysReply:
        """Those that run and the last that ended."""
        del request
        replays = await work_off(context, self._spool.replays)
        return admin_pb2.ListReplaysReply(replays=[replay_message(replay) for replay in replays])

    async def CancelReplay(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.CancelReplayRequest, context: Context
    ) -> admin_pb2.Replay:
        """End a replay; what was sent stays sent."""
        return await work_off(context, self._cancel_replay, request.id)

    async def Audit(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.AuditRequest, context: Context
    ) -> AsyncIterator[admin_pb2.AuditReply]:
        """Recount everything now; the last message has ``is_end`` and the outcome."""
        del request
        position: AuditPosition | None = None
        while True:
            position, reply = await work_off(context, audit_page, self._spool, position)
            yield reply
            if reply.is_end:
                return
            # Each page takes a moment of the writer, and ends its wait for more callers to share a commit with.
            await asyncio.sleep(_AUDIT_PAUSE_SECONDS)

    async def Tally(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.TallyRequest, context: Context
    ) -> AsyncIterator[admin_pb2.TallyReply]:
        """What the journal holds, stretch by stretch; the last message has ``is_end`` and the hours at the door."""
        position: TallyPosition | None = None
        is_end = False
        while not is_end:
            position, reply = await work_off(context, tally_page, self._spool, request, position)
            is_end = reply.is_end
            if is_end:
                reply.hours.extend(admin_pb2.DoorHour(**hour._asdict()) for hour in self._hours())
            yield reply

    async def StartSalvage(  # noqa: N802 - the method's name on the wire
        self, request: admin_pb2.StartSalvageRequest, context: Context
    ) -> admin_pb2.Salvage:
        """Bring over what is left of a damaged spool."""
        return await work_off(context, self._start_salvage, request.path)

    def _story(self, event_id: str) -> admin_pb2.GetStoryReply:
        story = self._spool.find(event_id_bytes(event_id))
        if story is None:
            raise NotFoundError(f"the journal does not hold {event_id}")
        lanes = [admin_pb2.LaneFate(lane=lane.lane, fate=lane.fate, reason=lane.reason) for lane in story.lanes]
        return admin_pb2.GetStoryReply(seq=story.event.seq, lanes=lanes)

    def _command(self, lane: str, command: str) -> admin_pb2.LaneStatus:
        if command not in _COMMANDS:
            raise BadRequestError(f"command: {command!r} is none of {', '.join(_COMMANDS)}")
        state = self._spool.command(lane, command)
        _log.info("operator's command", lane=lane, command=command)
        return self._status.lane(state)

    def _dead_of(self, event_id: str, lane: str) -> list[admin_pb2.DeadLetter]:
        return dead_of_event(self._spool, event_id_bytes(event_id), lane)

    def _start_replay(self, request: admin_pb2.Selection) -> admin_pb2.Replay:
        replay = self._spool.start_replay(read_selection(request))
        _log.info("replay started", replay=replay.id, lane=replay.selection.lane)
        return replay_message(replay)

    def _cancel_replay(self, replay_id: int) -> admin_pb2.Replay:
        replay = self._spool.cancel_replay(replay_id)
        _log.info("replay cancelled", replay=replay.id, lane=replay.selection.lane, state=replay.state)
        return replay_message(replay)

    def _start_salvage(self, path: str) -> admin_pb2.Salvage:
        if not path.startswith("/"):
            raise BadRequestError(f"path: {path!r} must be absolute")
        return salvage_message(self._begin_salvage(Path(path)))
