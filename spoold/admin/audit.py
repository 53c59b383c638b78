"""Audits as the admin API tells them. Everything here reads the disk and belongs on a worker thread."""

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.spool.balance import Audit, AuditPosition
from spoold.spool.contract import Spool

_PAGE_ROWS = 1000


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
