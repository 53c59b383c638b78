"""What comes twice, and what is refused, is known by the hour."""

from spoold.door_hours import DoorHours
from spoold.metrics import Metrics
from tests.support.clock import START_MS, FakeClock

HOUR_MS = 3_600_000
FIRST_MS = START_MS - START_MS % HOUR_MS


def test_each_hour_has_what_came_in_it() -> None:
    clock, metrics = FakeClock(), Metrics()
    door = DoorHours(clock, metrics)
    for duplicates, refused in ((2, 3), (1, 0), (0, 5)):
        metrics.events_duplicate.inc(duplicates)
        metrics.events_refused.labels("invalid").inc(refused)
        metrics.events_refused.labels("disk").inc(refused)
        door.look()
        door.look()
        clock.advance(1800)

    first, *more = door.hours

    assert first.hour_ms == FIRST_MS
    assert sum(hour.duplicates for hour in door.hours) == 3
    assert sum(hour.refused for hour in door.hours) == 16
    assert (first.duplicates, first.refused) in ((3, 6), (2, 6))
    assert [hour.hour_ms for hour in more] == [FIRST_MS + HOUR_MS]


def test_two_weeks_are_remembered() -> None:
    clock = FakeClock()
    door = DoorHours(clock, Metrics())
    for _ in range(400):
        door.look()
        clock.advance(3600)

    assert len(door.hours) == 14 * 24
    assert door.hours[-1].hour_ms == FIRST_MS + 399 * HOUR_MS
