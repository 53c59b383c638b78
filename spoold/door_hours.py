"""What was refused at the door and what was sent twice, hour by hour, so that callers can reconcile their own counts.

Looked up once a second in counters that are there anyway: an append pays nothing for it. Kept in memory only, so it
begins with the process; an event of an hour's last second may be counted in the next hour.
"""

from typing import NamedTuple

from spoold.clock import Clock
from spoold.metrics import Metrics

_HOUR_MS = 3_600_000
#: Two weeks.
_MAX_HOURS = 24 * 14


class DoorHour(NamedTuple):
    """One hour at the door.

    Attributes:
        hour_ms: When it began, Unix milliseconds.
        duplicates: Events whose id was in the journal already: they are in no hour's count of accepted ones twice.
        refused: Events that were refused.
    """

    hour_ms: int
    duplicates: int
    refused: int


class DoorHours:
    """The last two weeks. ``look`` belongs to one thread, ``hours`` may be read from any."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._seen = (0, 0)
        #: Every hour since the process began, as far as they are remembered, the oldest first.
        self.hours: tuple[DoorHour, ...] = ()

    def look(self) -> None:
        """Add what came since the last look to the hour that it is now."""
        now_ms = self._clock.wall_ms()
        hour_ms = now_ms - now_ms % _HOUR_MS
        duplicates, refused = seen = self._metrics.duplicates, self._metrics.refused
        hours = {hour.hour_ms: hour for hour in self.hours}
        hour = hours.get(hour_ms, DoorHour(hour_ms, 0, 0))
        hours[hour_ms] = DoorHour(
            hour_ms, hour.duplicates + duplicates - self._seen[0], hour.refused + refused - self._seen[1]
        )
        self._seen = seen
        self.hours = tuple(hours[key] for key in sorted(hours)[-_MAX_HOURS:])
