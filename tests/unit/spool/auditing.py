"""Short ways of auditing a spool."""

from spoold.spool.balance import Audit, AuditPosition
from tests.support.spools import OpenSpool

#: Of a page, where nothing else is said.
ROWS = 1000


def audit(spool: OpenSpool, max_rows: int = ROWS, position: AuditPosition | None = None) -> Audit:
    """All pages from there on, with nothing between them."""
    while True:
        position, progress, outcome = spool.spool.audit(position, max_rows=max_rows)
        assert 0 <= progress <= 1
        if outcome is not None:
            assert (position, progress) == (None, 1)
            return outcome
