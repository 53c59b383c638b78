"""``when_full = "purge"``: whose oldest events are given up, when, and that each is counted (I2, I7)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from spoold.errors import SpoolFullError, UnknownLaneError
from tests.support.clock import FakeClock
from tests.support.events import make_big_drafts, make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool
from tests.unit.spool.moves import move, terms

#: About a megabyte of events.
SOME = 50


@pytest.fixture
def small(state_dir: Path, clock: FakeClock) -> Iterator[OpenSpool]:
    """A spool of 8 MiB that two lanes have pending from the start."""
    with open_spool(state_dir, clock=clock, max_bytes=8 * MIB) as opened:
        for name in ("a", "b"):
            opened.spool.open_lane(name, "webhook", "earliest")
        yield opened


def fill(spool: OpenSpool) -> None:
    """Append until there is no room."""
    with suppress(SpoolFullError):
        while True:
            spool.append(make_big_drafts(10))


def last(spool: OpenSpool) -> int:
    """The newest event's seq."""
    return spool.store.state.spool.last_seq


def wanting(spool: OpenSpool) -> list[str]:
    """The lanes of which room is wanted."""
    return [lane.name for lane in spool.spool.lanes() if spool.spool.wants_room(lane.name)]


def make_room(spool: OpenSpool) -> None:
    """What the housekeeper does."""
    while spool.spool.trim(1000):
        pass
    spool.store.checkpoint()


def test_while_there_is_room_none_is_wanted(small: OpenSpool) -> None:
    assert wanting(small) == []
    small.append(make_big_drafts(SOME))
    assert wanting(small) == []


def test_room_is_wanted_of_the_lane_that_is_furthest_behind(small: OpenSpool) -> None:
    fill(small)
    move(small, "a", 1, delivered=1)
    make_room(small)

    assert wanting(small) == ["b"]


def test_where_two_lanes_stand_at_the_same_event_room_is_wanted_of_both(small: OpenSpool) -> None:
    fill(small)

    assert wanting(small) == ["a", "b"]
    move(small, "a", 10, purged=10)
    assert wanting(small) == ["b"], "what is left holds the room alone"


def test_what_is_settled_goes_first(small: OpenSpool) -> None:
    small.append(make_big_drafts(SOME))
    for name in ("a", "b"):
        move(small, name, 5, delivered=5)
    fill(small)
    assert wanting(small) == [], "five events can be forgotten"

    make_room(small)
    assert small.spool.stats().refusing is not None
    assert wanting(small) == ["a", "b"]


def test_nothing_is_wanted_of_a_lane_that_has_nothing_ahead(small: OpenSpool) -> None:
    small.append(make_drafts(3))
    move(small, "a", 3, delivered=1, deferred=[1, 2])
    small.spool.close_lane("a")
    fill(small)
    move(small, "b", 3, delivered=3)
    make_room(small)

    assert small.lane("a").pending == 2
    assert wanting(small) == ["b"]


def test_a_closed_lane_in_the_way_is_no_reason_to_give_up_anothers_events(small: OpenSpool) -> None:
    small.append(make_drafts(3))
    small.spool.close_lane("a")
    fill(small)
    move(small, "b", 3, delivered=3)
    make_room(small)

    assert wanting(small) == ["a"]


def test_what_others_settled_behind_the_lanes_front_is_not_waited_for(small: OpenSpool) -> None:
    small.append(make_big_drafts(SOME))
    small.spool.close_lane("a")
    fill(small)
    small.spool.open_lane("a", "webhook", "latest")
    # The lane missed what the other one has settled; it can't be forgotten before what the lane has pending.
    move(small, "b", last(small), delivered=last(small))
    make_room(small)

    assert (small.spool.stats().refusing, small.spool.stats().retained > 0) == ("max_bytes", True)
    assert wanting(small) == ["a"]
    move(small, "a", SOME, purged=SOME)
    make_room(small)
    assert wanting(small) == []
    small.append(make_big_drafts(10))
    assert terms(small, "a") == (0, 0, 0, SOME, 0, 10)


def test_a_disk_that_runs_low_wants_room_too(small: OpenSpool) -> None:
    small.append(make_drafts(3))
    move(small, "b", 3, delivered=3)
    assert wanting(small) == []

    small.free_bytes = small.limits.min_free_bytes - 1
    small.space.recheck()
    with pytest.raises(SpoolFullError):
        small.append(make_drafts(1))
    assert wanting(small) == ["a"]


def test_a_log_that_a_reader_pins_is_no_reason_to_give_up_events(small: OpenSpool) -> None:
    small.append(make_drafts(3))
    small.space.wal_frame_bytes = small.limits.pinned_wal_bytes + 1

    assert small.spool.stats().refusing == "wal"
    assert wanting(small) == []


def test_purging_goes_on_until_the_append_passes_and_counts_each_event(
    small: OpenSpool, clock: FakeClock, state_dir: Path
) -> None:
    fill(small)
    clock.advance(60)
    accepted, purged = last(small), 0
    move(small, "b", accepted, delivered=accepted)
    for _ in range(100):
        if not small.spool.wants_room("a"):
            break
        purged += 10
        move(small, "a", purged, purged=10, outcome="purged")
        make_room(small)

    assert 10 <= purged < accepted / 2, "no more than is needed"
    small.append(make_big_drafts(10))
    expected = (0, 0, 0, purged, 0, accepted + 10 - purged)
    assert terms(small, "a") == expected
    assert small.seqs("a")[0] == purged + 1
    assert terms(small, "b") == (accepted, 0, 0, 0, 0, 10)
    small.spool.close()
    with open_spool(state_dir, max_bytes=8 * MIB) as opened:
        assert terms(opened, "a") == expected


def test_a_purge_may_carry_what_was_known(small: OpenSpool) -> None:
    small.append(make_drafts(10))

    move(small, "a", 6, delivered=1, filtered=1, dead=[3], deferred=[4], purged=2)

    assert terms(small, "a") == (1, 1, 1, 2, 1, 5)


@pytest.mark.parametrize("purged", [5, -1])
def test_a_purge_that_does_not_add_up_is_refused(small: OpenSpool, purged: int) -> None:
    small.append(make_drafts(4))

    with pytest.raises(ValueError, match="lane a"):
        move(small, "a", 4, purged=purged)
    assert terms(small, "a") == (0, 0, 0, 0, 0, 4)


def test_a_lane_that_does_not_exist_is_named(small: OpenSpool) -> None:
    with pytest.raises(UnknownLaneError, match="no lane is named 'c'; there are: a, b"):
        small.spool.wants_room("c")


def test_delivered_events_make_room_for_an_append_of_any_size(small: OpenSpool) -> None:
    for _ in range(4):
        small.append(make_big_drafts(SOME))
        small.store.checkpoint()
    for name in ("a", "b"):
        move(small, name, 4 * SOME, delivered=4 * SOME)
    large = make_big_drafts(160)
    with pytest.raises(SpoolFullError):
        small.append(large)

    make_room(small)

    small.append(large)
    assert small.lane("a").pending == 160
