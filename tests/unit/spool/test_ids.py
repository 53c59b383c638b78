"""Ids made here rise with the journal, whatever the wall clock does."""

from uuid import UUID

import pytest

from spoold.spool.ids import IdMaker, is_made_here, time_in_id
from tests.support.clock import START_MS, FakeClock, FakeEntropy

TAG = b"\xab\xcd"


@pytest.fixture
def maker(clock: FakeClock, entropy: FakeEntropy) -> IdMaker:
    return IdMaker(clock, entropy, tag=TAG, last_ms=0)


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_it(maker: IdMaker) -> None:
    event_id, stamp_ms = maker.next_id()

    parsed = UUID(bytes=event_id)
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")
    assert (time_in_id(event_id), stamp_ms) == (START_MS, START_MS)
    assert is_made_here(event_id, TAG)


def test_10_000_ids_of_one_millisecond_rise(maker: IdMaker) -> None:
    made = [maker.next_id() for _ in range(10_000)]

    assert [event_id for event_id, _ in made] == sorted({event_id for event_id, _ in made})
    assert {time_in_id(event_id) for event_id, _ in made} == {START_MS, START_MS + 1, START_MS + 2}
    assert all(time_in_id(event_id) == stamp_ms for event_id, stamp_ms in made)


@pytest.mark.parametrize("jump_seconds", [-0.001, -1, -86_400, 0, 0.001, 86_400])
def test_ids_rise_when_the_wall_clock_jumps(maker: IdMaker, clock: FakeClock, jump_seconds: float) -> None:
    before = [maker.next_id() for _ in range(3)]
    clock.jump_wall(jump_seconds)
    after = [maker.next_id() for _ in range(3)]

    assert [*before, *after] == sorted([*before, *after])
    assert len({event_id for event_id, _ in before + after}) == 6


@pytest.mark.parametrize("jump_seconds", [-3600, 0, 3600])
def test_ids_rise_over_a_restart(clock: FakeClock, entropy: FakeEntropy, jump_seconds: float) -> None:
    maker = IdMaker(clock, entropy, tag=TAG, last_ms=0)
    last_id, last_ms = [maker.next_id() for _ in range(5000)][-1]
    clock.jump_wall(jump_seconds)

    next_id, next_ms = IdMaker(clock, entropy, tag=TAG, last_ms=last_ms).next_id()

    assert next_id > last_id
    assert next_ms > last_ms


def test_a_callers_event_is_stamped_in_order_between_ours(maker: IdMaker, clock: FakeClock) -> None:
    clock.jump_wall(60)
    first = maker.next_id()[1]
    clock.jump_wall(-60)
    stamps = [first, maker.stamp(), maker.next_id()[1], maker.stamp()]

    assert stamps == sorted(stamps)


def test_callers_events_of_a_clock_that_stands_still_spread_over_milliseconds(maker: IdMaker) -> None:
    """Else the search for an id by its time would walk over all of them."""
    stamps = [maker.stamp() for _ in range(20_000)]

    assert stamps == sorted(stamps)
    assert max(stamps.count(stamp) for stamp in set(stamps)) <= 4096


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [
        (UUID("0199c2f0-7a00-7000-8000-00000000abcd").bytes, True),
        (UUID("0199c2f0-7a00-7000-8000-00000000abce").bytes, False),
        (UUID("0199c2f0-7a00-4000-8000-00000000abcd").bytes, False),
        (UUID("0199c2f0-7a00-5000-8000-00000000abcd").bytes, False),
    ],
)
def test_ours_are_told_from_a_callers_by_version_and_tag(event_id: bytes, expected: bool) -> None:  # noqa: FBT001
    assert is_made_here(event_id, TAG) is expected
