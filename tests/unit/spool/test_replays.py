"""Replays: what a selection holds, and what becomes of the lane's counters."""

from typing import Any

import pytest

from spoold.spool.values import Deferred, Selection
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft, make_drafts, make_identify_draft
from tests.support.spools import OpenSpool
from tests.unit.spool.moves import asides, move, terms
from tests.unit.spool.replaying import AHEAD, ALL, COUNTED, DEAD, DEFERRED, LANE, TO_SEND, at, ids, run, start


def matching(spool: OpenSpool, selection: Selection, max_events: int = 1000) -> list[int]:
    """What ``matches`` says that a replay would hold."""
    found, after = list[int](), None
    while True:
        matches = spool.spool.matches(selection, after, max_events=max_events)
        found += [event.seq for event in matches.events]
        after = matches.after
        if matches.is_end:
            return found


#: A selection and what of the journal is meant by it, whatever the lane has ahead.
RANGES: dict[str, tuple[dict[str, Any], set[int]]] = {
    "everything": ({}, ALL),
    "since": ({"since_ms": at(6)}, set(range(6, 14))),
    "since a moment later": ({"since_ms": at(6) + 1}, set(range(7, 14))),
    "since long ago": ({"since_ms": -1}, ALL),
    "since the future": ({"since_ms": at(99)}, set()),
    "until": ({"until_ms": at(6)}, set(range(1, 6))),
    "until a moment later": ({"until_ms": at(6) + 1}, set(range(1, 7))),
    "until the beginning of time": ({"until_ms": 0}, set()),
    "until the future": ({"until_ms": at(99)}, ALL),
    "between": ({"since_ms": at(4), "until_ms": at(9)}, {4, 5, 6, 7, 8}),
    "the wrong way round": ({"since_ms": at(9), "until_ms": at(4)}, set()),
    "one name": ({"event_names": ("Odd",)}, {1, 3, 5, 7, 9, 11, 13}),
    "two names": ({"event_names": ("Odd", "Even")}, ALL),
    "a name that nobody has": ({"event_names": ("odd",)}, set()),
    "a user": ({"user_id": "u-0"}, {3, 6, 9, 12}),
    "all together": ({"since_ms": at(4), "until_ms": at(12), "event_names": ("Even",), "user_id": "u-0"}, {6}),
}


@pytest.mark.parametrize("max_events", [1, 2, 5, 1000])
@pytest.mark.parametrize("name", RANGES)
def test_a_range_of_the_journal_is_sent_but_for_what_the_lane_still_has(
    mixed: OpenSpool, name: str, max_events: int
) -> None:
    conditions, meant = RANGES[name]
    expected = sorted(meant & TO_SEND), sorted(meant & DEAD)
    told = matching(mixed, Selection(LANE, **conditions), max_events)

    replay = start(mixed, **conditions)

    assert run(mixed, replay.id, max_events) == expected
    assert told == sorted(meant - AHEAD - DEFERRED)
    delivered, dead, filtered, purged, deferred, pending = COUNTED
    back = len(meant & DEAD)
    assert terms(mixed, LANE) == (delivered, dead - back, filtered, purged, deferred + back, pending + back)


@pytest.mark.parametrize("max_events", [1, 2, 1000])
@pytest.mark.parametrize("wanted", [(1,), (2,), (6,), (7,), (10,), (11, 12), (13, 1, 6, 2, 1), tuple(ALL)])
def test_events_are_named_by_their_ids(mixed: OpenSpool, wanted: tuple[int, ...], max_events: int) -> None:
    conditions: dict[str, Any] = {"event_ids": (*ids(mixed, *wanted), b"nowhere, 16 byte")}
    told = matching(mixed, Selection(LANE, **conditions), max_events)

    replay = start(mixed, **conditions)

    meant = set(wanted)
    assert run(mixed, replay.id, max_events) == (sorted(meant & TO_SEND), sorted(meant & DEAD))
    assert told == sorted(meant - AHEAD - DEFERRED)


def test_ids_hold_together_with_the_other_conditions(mixed: OpenSpool) -> None:
    replay = start(mixed, event_ids=ids(mixed, 1, 2, 3, 4, 5), since_ms=at(2), until_ms=at(5), event_names=("Even",))

    assert run(mixed, replay.id) == ([2, 4], [])


@pytest.mark.parametrize(
    "conditions",
    [
        {"event_ids": (b"nowhere, 16 byte",)},
        {"event_ids": (bytes([1]) * 16,), "since_ms": at(2)},
        {"since_ms": at(99)},
        {"until_ms": at(1)},
        {"is_dead": True, "lane": "other"},
        {"lane": "other", "event_ids": (b"nowhere, 16 byte",), "is_dead": True},
    ],
)
def test_a_replay_of_nothing_is_done_at_once(mixed: OpenSpool, clock: FakeClock, conditions: dict[str, Any]) -> None:
    mixed.spool.open_lane("other", "webhook", "latest")

    replay = start(mixed, **conditions)

    assert (replay.state, replay.progress, replay.finished_at_ms) == ("done", 1, clock.wall_ms())
    assert mixed.spool.next_replay(replay.selection.lane) is None
    page = mixed.spool.read_replay(replay.id, max_events=10)
    assert (page.events, page.revived, page.is_end) == ([], [], True)


def test_a_replay_of_an_empty_journal_is_done_at_once(spool: OpenSpool, lane: str) -> None:
    assert start(spool, lane=lane).state == "done"
    assert spool.spool.matches(Selection(lane), None, max_events=10).is_end


def test_profiles_are_sent_again_too_but_have_no_event_name(spool: OpenSpool, lane: str) -> None:
    spool.append([make_identify_draft("u-1"), make_draft("A", user_id="u-1"), make_identify_draft("u-2")])
    move(spool, lane, 3, delivered=3)

    assert run(spool, start(spool, lane=lane).id) == ([1, 2, 3], [])
    assert run(spool, start(spool, lane=lane, user_id="u-1").id) == ([1, 2], [])
    assert run(spool, start(spool, lane=lane, event_names=("A",)).id) == ([2], [])


def test_a_dead_letter_in_a_range_is_revived_and_due_at_once(mixed: OpenSpool, clock: FakeClock) -> None:
    clock.advance(5)
    sent, revived = run(mixed, start(mixed, since_ms=at(6), until_ms=at(9)).id)

    assert (sent, revived) == ([8], [6])
    assert asides(mixed, LANE) == {6: "deferred", 7: "deferred"}
    assert mixed.spool.deferred(LANE)[0] == Deferred(6, 0, clock.wall_ms(), 1, 0, "refused", 400)
    assert mixed.spool.stats().dead_bytes == 0


def test_what_a_lane_missed_is_sent_wherever_its_cursor_stands(mixed: OpenSpool) -> None:
    assert run(mixed, start(mixed, since_ms=at(10)).id) == ([11, 12], [])
    move(mixed, LANE, 13, delivered=2)
    assert run(mixed, start(mixed, since_ms=at(11), until_ms=at(13)).id) == ([11, 12], [])
    assert terms(mixed, LANE) == (3, 1, 1, 1, 1, 1)


def test_a_new_lane_gets_what_was_there_before_it(mixed: OpenSpool) -> None:
    mixed.spool.open_lane("new", "webhook", "latest")
    mixed.append(make_drafts(2))

    replay = start(mixed, lane="new")

    assert run(mixed, replay.id, 4) == (sorted(ALL), [])
    assert terms(mixed, "new") == (0, 0, 0, 0, 0, 2)
    assert mixed.spool.oldest_pending_at_ms("new") == at(14)


def test_what_is_appended_or_delivered_after_the_start_is_no_part_of_it(mixed: OpenSpool) -> None:
    replay = start(mixed, since_ms=at(9))
    move(mixed, LANE, 13, delivered=2)
    mixed.append(make_drafts(3))
    move(mixed, LANE, 16, delivered=3)

    assert run(mixed, replay.id) == ([9, 11, 12], [])


def test_events_from_before_the_range_are_not_sent_although_the_clock_was_set_back(
    spool: OpenSpool, lane: str, clock: FakeClock
) -> None:
    clock.jump_wall(3600)
    spool.append(make_drafts(1))
    clock.jump_wall(-3600)
    spool.append(make_drafts(1))
    clock.advance(60)
    spool.append(make_drafts(1))
    move(spool, lane, 3, delivered=3)

    assert run(spool, start(spool, lane=lane, since_ms=START_MS + 60_000).id) == ([1, 3], [])


#: Dead letters 2, 4, 6 and 8 of nine events ten seconds apart.
DEAD_LETTERS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "all": ({}, [2, 4, 6, 8]),
    "since": ({"since_ms": at(4)}, [4, 6, 8]),
    "since a moment later": ({"since_ms": at(4) + 1}, [6, 8]),
    "until": ({"until_ms": at(6)}, [2, 4]),
    "until the beginning of time": ({"until_ms": 0}, []),
    "a name": ({"event_names": ("A 3",)}, [4]),
    "names": ({"event_names": ("A 2", "A 3", "A 7")}, [4, 8]),
    "a user": ({"user_id": "u-81"}, [2, 4, 6, 8]),
    "nobody": ({"user_id": "u-82"}, []),
    "all together": ({"since_ms": at(4), "until_ms": at(8), "event_names": ("A 1", "A 5", "A 7")}, [6]),
}


@pytest.mark.parametrize("max_events", [1, 3, 1000])
@pytest.mark.parametrize("is_forgotten", [False, True], ids=["kept", "forgotten"])
@pytest.mark.parametrize("name", DEAD_LETTERS)
def test_dead_letters_are_revived_by_each_condition(
    spool: OpenSpool, lane: str, clock: FakeClock, name: str, *, is_forgotten: bool, max_events: int
) -> None:
    conditions, expected = DEAD_LETTERS[name]
    spool.spool.open_lane("other", "webhook", "earliest")
    for number in range(9):
        spool.append([make_draft(f"A {number}")])
        clock.advance(10)
    for one in (lane, "other"):
        move(spool, one, 9, delivered=3, dead=[2, 4, 6, 8], deferred=[1, 5])
    if is_forgotten:
        clock.advance(7200)
        assert spool.spool.trim(100) == 9
    told = matching(spool, Selection(lane, is_dead=True, **conditions), max_events)

    replay = start(spool, lane=lane, is_dead=True, **conditions)

    assert run(spool, replay.id, max_events) == ([], expected)
    assert told == expected
    assert terms(spool, lane) == (3, 4 - len(expected), 0, 0, 2 + len(expected), 2 + len(expected))
    assert terms(spool, "other") == (3, 4, 0, 0, 2, 2)


def test_dead_letters_are_revived_by_their_ids(mixed: OpenSpool) -> None:
    replay = start(mixed, is_dead=True, event_ids=ids(mixed, 5, 6, 7))

    assert run(mixed, replay.id) == ([], [6])
