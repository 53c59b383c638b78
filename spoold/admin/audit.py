"""Audits as the admin API tells them. Everything here reads the disk and belongs on a worker thread."""

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.spool.balance import Audit, AuditPosition, TallyPosition
from spoold.spool.contract import Spool

_PAGE_ROWS = 1000
#: Each event is decoded, which takes some 10 µs of the interpreter.
_PAGE_EVENTS = 200


def audit_page(spool: Spool, position: AuditPosition | None) -> tuple[AuditPosition | None, admin_pb2.AuditReply]:
    """The next page: where to go on, and what to tell.

    Raises:
        SpoolError: The spool can't be read.
    """
    step = spool.audit(position, max_rows=_PAGE_ROWS)
    reply = admin_pb2.AuditReply(progress=step.progress, is_end=step.audit is not None)
    if step.audit is not None:
        reply.lanes.extend(admin_pb2.AuditedLane(**lane._asdict()) for lane in step.audit.lanes)
        reply.imbalances.extend(imbalance_messages(step.audit))
    return step.position, reply


def imbalance_messages(audit: Audit) -> list[admin_pb2.Imbalance]:
    """What an audit found, on the wire."""
    return [admin_pb2.Imbalance(**one._asdict()) for one in audit.imbalances]


def tally_page(
    spool: Spool, request: admin_pb2.TallyRequest, position: TallyPosition | None
) -> tuple[TallyPosition | None, admin_pb2.TallyReply]:
    """The next page of what the journal holds: where to go on, and what to tell. Raises as ``audit_page`` does."""
    since_ms = request.since_ms if request.HasField("since_ms") else None
    until_ms = request.until_ms if request.HasField("until_ms") else None
    page = spool.tally(since_ms, until_ms, position, max_events=_PAGE_EVENTS)
    groups = [
        admin_pb2.TallyGroup(hour_ms=group.hour_ms, type=group.kind, event_name=group.event_name, accepted=count)
        for group, count in page.counts.items()
    ]
    return page.position, admin_pb2.TallyReply(progress=page.progress, is_end=page.position is None, groups=groups)
