"""What keeps the spool small and its condition known, in steps of a bounded cost."""

from collections.abc import Callable
from contextlib import suppress

from spoold.errors import SpoolUnreadableError
from spoold.spool.balance import Audit, AuditPosition
from spoold.spool.contract import Desk
from spoold.spool.values import SpoolStats

#: Rows forgotten in one commit: about 2 ms of the writer.
_TRIM_EVENTS = 500
_IDLE_SECONDS = 1.0
#: Rows of a page of the audit, and pages at a look: some 1 ms. A spool of ten million events takes most of an hour.
_AUDIT_ROWS = 1000
_AUDIT_PAGES = 4


class Housekeeper:
    """Trims, looks at the spool once a second, and recounts it page by page. ``step`` belongs to one thread."""

    def __init__(self, desk: Desk, on_stats: Callable[[SpoolStats], None], on_audit: Callable[[Audit], None]) -> None:
        """Prepare the steps.

        Args:
            on_stats: Called with the figures of each look.
            on_audit: Called with the outcome of each audit, when its last page was read.
        """
        self._desk = desk
        self._on_stats = on_stats
        self._on_audit = on_audit
        self._position: AuditPosition | None = None

    def step(self, now: float) -> float:
        """One look, one small trim and a few pages of an audit; returns seconds until the next."""
        del now
        trimmed = self._desk.trim(_TRIM_EVENTS)
        is_busy = trimmed == _TRIM_EVENTS
        # Where no descriptor is left the next look will do.
        with suppress(SpoolUnreadableError):
            self._on_stats(self._desk.stats())
            self._audit(1 if is_busy else _AUDIT_PAGES)
        # A full step means that more is waiting; a moment's pause lets appends through.
        return 0.01 if is_busy else _IDLE_SECONDS

    def _audit(self, pages: int) -> None:
        for _ in range(pages):
            self._position, _, audit = self._desk.audit(self._position, max_rows=_AUDIT_ROWS)
            if audit is not None:
                self._on_audit(audit)
                return
