"""Reading, whether the daemon runs or not: what it would answer, its spool answers too."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol
from uuid import UUID

from spoolctl.client import Target
from spoolctl.failure import Exit, Failure
from spoolctl.render import errors
from spoold import __version__
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import SystemClock
from spoold.errors import SpoolError, UnknownLaneError
from spoold.record import DamagedEvent, event_fields, format_uuid
from spoold.spool.balance import Audit
from spoold.spool.offline import OfflineSpool, open_offline
from spoold.spool.salvaged import Salvage
from spoold.spool.values import DeadEvent, LaneState, Replay

_PAGE_EVENTS = 200


class Desk(Protocol):
    """What can be read."""

    def status(self) -> admin_pb2.GetStatusReply:
        """The daemon at a glance."""
        ...

    def dead(self, lane: str = "", event_id: str = "") -> Iterator[admin_pb2.DeadLetter]:
        """Dead letters, the oldest first within each lane; of one lane or event where it is named."""
        ...

    def replays(self) -> list[admin_pb2.Replay]:
        """Those that run and the last that ended, the newest first."""
        ...

    def audit(self) -> Iterator[tuple[float, Audit | None]]:
        """Recount everything: how far that is, 0 to 1, and at last the outcome."""
        ...

    def tally(self, since_ms: int | None, until_ms: int | None) -> Iterator[admin_pb2.TallyReply]:
        """Count what the journal holds of a time (Unix milliseconds, None: all), stretch by stretch."""
        ...


@contextmanager
def reading(target: Target, *, is_watching: bool = False) -> Iterator[Desk]:
    """The daemon or, when it is down, its spool.

    Args:
        is_watching: The reader shows which of them it is; else it is said once.
    """
    with ExitStack() as stack:
        desk = _open(target, stack)
        if isinstance(desk, OfflineDesk) and not is_watching:
            errors.print(f"spoold is not running on {target.socket}; this is what its spool says")
        try:
            yield desk
        except UnknownLaneError as exc:
            raise Failure(Exit.NOTHING, str(exc)) from exc
        except SpoolError as exc:
            raise Failure(Exit.FAILED, f"the spool in {target.spool} can't be read: {exc}") from exc


def _open(target: Target, stack: ExitStack) -> Desk:
    try:
        admin = stack.enter_context(target.admin())
        # Whether anybody is there: nothing that is read later may change its mind half-way.
        admin.status()
    except Failure as failure:
        if failure.code != Exit.UNREACHABLE:
            raise
        try:
            return OfflineDesk(stack.enter_context(open_offline(target.spool)))
        except SpoolError as exc:
            raise Failure(
                Exit.UNREACHABLE,
                f"{failure.error}; {exc}",
                "start it (systemctl start spoold), or name its socket (--socket) or its spool (--spool)",
            ) from exc
    return admin


class OfflineDesk:
    """What the tables say; what only a running daemon knows stays unset. Raises SpoolError where they can't be read."""

    def __init__(self, spool: OfflineSpool) -> None:
        self._spool = spool

    def status(self) -> admin_pb2.GetStatusReply:
        """See ``Desk``."""
        spool = self._spool
        totals = spool.state.spool
        lanes = [self._lane(lane) for lane in spool.lanes()]
        oldest = [lane.oldest_pending_seconds for lane in lanes if lane.HasField("oldest_pending_seconds")]
        return admin_pb2.GetStatusReply(
            daemon=admin_pb2.DaemonStatus(state="offline", version=__version__),
            spool=admin_pb2.SpoolStatus(
                accepted=totals.accepted,
                pending=spool.pending(),
                retained=spool.state.retained(),
                bytes=spool.file_bytes,
                oldest_pending_seconds=max(oldest, default=None),
                duplicates=totals.duplicates,
                dead_bytes=totals.dead_bytes,
                damaged=totals.damaged,
                salvages=map(salvage_message, spool.salvages()),
            ),
            lanes=lanes,
        )

    def dead(self, lane: str = "", event_id: str = "") -> Iterator[admin_pb2.DeadLetter]:
        """See ``Desk``."""
        if event_id:
            found = self._spool.find_dead(UUID(event_id).bytes)
            yield from (_dead_message(letter) for letter in found if lane in ("", letter.lane))
            return
        for name in [lane] if lane else [state.name for state in self._spool.lanes()]:
            after = 0
            while page := self._spool.dead(name, after=after, max_events=_PAGE_EVENTS):
                yield from (_dead_message(letter) for letter in page)
                after = page[-1].event.seq

    def replays(self) -> list[admin_pb2.Replay]:
        """See ``Desk``."""
        return [_replay_message(replay) for replay in self._spool.replays()]

    def audit(self) -> Iterator[tuple[float, Audit | None]]:
        """See ``Desk``."""
        return self._spool.audit()

    def tally(self, since_ms: int | None, until_ms: int | None) -> Iterator[admin_pb2.TallyReply]:
        """See ``Desk``."""
        for page in self._spool.tally(since_ms, until_ms):
            groups = [
                admin_pb2.TallyGroup(
                    hour_ms=group.hour_ms, type=group.kind, event_name=group.event_name, accepted=count
                )
                for group, count in page.counts.items()
            ]
            yield admin_pb2.TallyReply(progress=page.progress, is_end=page.position is None, groups=groups)

    def _lane(self, lane: LaneState) -> admin_pb2.LaneStatus:
        return admin_pb2.LaneStatus(
            name=lane.name,
            kind=lane.kind,
            # After how many failures a lane is down is in the configuration, not in the spool.
            state=lane.word(),
            accepted=lane.accepted,
            pending=lane.pending,
            delivered=lane.delivered,
            dead=lane.dead,
            filtered=lane.filtered,
            purged=lane.purged,
            failures=lane.retry.failures,
            last_error=lane.retry.last_error or None,
            oldest_pending_seconds=self._age(lane.name),
            deferred=lane.deferred,
        )

    def _age(self, lane: str) -> float | None:
        received_at_ms = self._spool.oldest_pending_at_ms(lane)
        return None if received_at_ms is None else max(0.0, (SystemClock().wall_ms() - received_at_ms) / 1000)


def salvage_message(salvage: Salvage) -> admin_pb2.Salvage:
    """A salvage as the daemon would tell it."""
    fields = {name: value for name, value in salvage._asdict().items() if name not in ("position", "pieces")}
    return admin_pb2.Salvage(progress=salvage.progress, **fields)


def _dead_message(letter: DeadEvent) -> admin_pb2.DeadLetter:
    event = letter.event
    fields = {"seq": event.seq} if isinstance(event, DamagedEvent) else event_fields(event)
    return admin_pb2.DeadLetter(
        lane=letter.lane,
        seq=event.seq,
        event=json.dumps(fields),
        status=letter.status,
        reason=letter.reason,
        attempts=letter.attempts,
        dead_at_ms=letter.dead_at_ms,
    )


def _replay_message(replay: Replay) -> admin_pb2.Replay:
    selection = replay.selection
    return admin_pb2.Replay(
        id=replay.id,
        selection=admin_pb2.Selection(
            lane=selection.lane,
            is_dead=selection.is_dead,
            since_ms=selection.since_ms,
            until_ms=selection.until_ms,
            event_ids=[format_uuid(event_id) for event_id in selection.event_ids],
            event_names=selection.event_names,
            user_id=selection.user_id,
        ),
        state=replay.state,
        progress=replay.progress,
        sent=replay.sent,
        failed=replay.failed,
        revived=replay.revived,
        created_at_ms=replay.created_at_ms,
        finished_at_ms=replay.finished_at_ms,
    )
