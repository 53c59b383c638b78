"""What keeps the spool small and its condition known, in steps of a bounded cost."""

from collections.abc import Callable

from spoold.spool.contract import Desk
from spoold.spool.values import SpoolStats

#: Rows forgotten in one commit: about 2 ms of the writer.
_TRIM_EVENTS = 500
_IDLE_SECONDS = 1.0


class Housekeeper:
    """Trims, and looks at the spool once a second. ``step`` belongs to one thread; ``stats`` may be read from any."""

    def __init__(self, desk: Desk, on_stats: Callable[[SpoolStats], None]) -> None:
        """Prepare the steps.

        Args:
            on_stats: Called with the figures of each look.
        """
        self._desk = desk
        self._on_stats = on_stats

    def step(self, now: float) -> float:
        """One look and one small trim; returns seconds until the next."""
        del now
        trimmed = self._desk.trim(_TRIM_EVENTS)
        self._on_stats(self._desk.stats())
        # A full step means that more is waiting; a moment's pause lets appends through.
        return 0.01 if trimmed == _TRIM_EVENTS else _IDLE_SECONDS
