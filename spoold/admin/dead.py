"""Dead letters as the admin API tells them. Everything here reads the disk and belongs on a worker thread."""

import orjson

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.record import DamagedEvent, event_fields
from spoold.spool.contract import Spool
from spoold.spool.values import DeadEvent

#: An event can have 32 000 bytes: a page of so many is some MiB at most.
_PAGE_EVENTS = 200


def dead_page(spool: Spool, lane: str, after: int) -> list[admin_pb2.DeadLetter]:
    """The lane's next dead letters behind a seq; none is the end.

    Raises:
        UnknownLaneError: There is no such lane.
        SpoolError: The spool can't be read.
    """
    return [_message(letter) for letter in spool.dead(lane, after=after, max_events=_PAGE_EVENTS)]


def dead_of_event(spool: Spool, event_id: bytes, lane: str) -> list[admin_pb2.DeadLetter]:
    """An event's dead letters in one lane, or in each where ``lane`` is empty. Raises as ``dead_page`` does."""
    return [_message(letter) for letter in spool.find_dead(event_id) if lane in ("", letter.lane)]


def _message(letter: DeadEvent) -> admin_pb2.DeadLetter:
    event = letter.event
    # Nothing of a damaged record can be trusted, its id included.
    fields = {"seq": event.seq} if isinstance(event, DamagedEvent) else event_fields(event)
    return admin_pb2.DeadLetter(
        lane=letter.lane,
        seq=event.seq,
        event=orjson.dumps(fields).decode(),
        status=letter.status,
        reason=letter.reason,
        attempts=letter.attempts,
        dead_at_ms=letter.dead_at_ms,
    )
