"""Selections and replays as the admin API says them."""

from uuid import UUID

from spoold.admin.refusals import BadRequestError
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.record import format_uuid
from spoold.spool.values import Replay, Selection

#: A selection is stored and listed whole: its ids must fit into one message.
MAX_EVENT_IDS = 1000


def event_id_bytes(text: str) -> bytes:
    """The 16 bytes of an event's id.

    Raises:
        BadRequestError: It is no UUID.
    """
    try:
        return UUID(text).bytes
    except ValueError:
        raise BadRequestError(f"event_id: {text!r} is no UUID") from None


def read_selection(message: admin_pb2.Selection) -> Selection:
    """What a client selects.

    Raises:
        BadRequestError: An id is no UUID, or there are more than ``MAX_EVENT_IDS``.
    """
    if len(message.event_ids) > MAX_EVENT_IDS:
        raise BadRequestError(f"event_ids: {len(message.event_ids)} are given, at most {MAX_EVENT_IDS} are taken")
    return Selection(
        lane=message.lane,
        is_dead=message.is_dead,
        since_ms=message.since_ms if message.HasField("since_ms") else None,
        until_ms=message.until_ms if message.HasField("until_ms") else None,
        event_ids=tuple(event_id_bytes(text) for text in message.event_ids),
        event_names=tuple(message.event_names),
        user_id=message.user_id,
    )


def replay_message(replay: Replay) -> admin_pb2.Replay:
    """A replay on the wire."""
    return admin_pb2.Replay(
        id=replay.id,
        selection=_selection_message(replay.selection),
        state=replay.state,
        progress=replay.progress,
        sent=replay.sent,
        failed=replay.failed,
        revived=replay.revived,
        created_at_ms=replay.created_at_ms,
        finished_at_ms=replay.finished_at_ms,
    )


def _selection_message(selection: Selection) -> admin_pb2.Selection:
    return admin_pb2.Selection(
        lane=selection.lane,
        is_dead=selection.is_dead,
        since_ms=selection.since_ms,
        until_ms=selection.until_ms,
        event_ids=[format_uuid(event_id) for event_id in selection.event_ids],
        event_names=selection.event_names,
        user_id=selection.user_id,
    )
