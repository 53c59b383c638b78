"""The same id again appends nothing, for as long as the event is in the journal."""

from pathlib import Path
from uuid import UUID

import pytest

from spoold.record import Event
from spoold.spool.values import Receipt
from tests.support.clock import FakeClock
from tests.support.events import make_draft, make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool

A = UUID("6b1d7f0a-95d4-4f86-9c0e-2f7c1d8a0b11").bytes
#: The same first 8 bytes, which is all that the index knows.
A_TWIN = A[:8] + bytes(8)
B = UUID("0d4d4b1e-8d5a-4c5b-9e38-7f6a5b4c3d2e").bytes


def outcome(receipts: list[Receipt]) -> list[tuple[int, bool]]:
    return [(receipt.seq, receipt.duplicate) for receipt in receipts]


def test_an_id_twice_in_one_call_is_one_event(spool: OpenSpool) -> None:
    receipts = spool.append([make_draft(event_id=A), make_draft(event_id=B), make_draft(event_id=A)])

    assert outcome(receipts) == [(1, False), (2, False), (1, True)]
    assert [receipt.event_id for receipt in receipts] == [A, B, A]


def test_an_id_in_two_calls_of_one_commit_is_one_event(spool: OpenSpool) -> None:
    futures = [spool.spool.append([make_draft(event_id=A)]) for _ in range(3)]
    spool.commit()

    assert [outcome(future.result()) for future in futures] == [[(1, False)], [(1, True)], [(1, True)]]


def test_an_id_again_later_is_the_same_event_and_its_first_content_wins(spool: OpenSpool, lane: str) -> None:
    spool.append([make_draft("First", event_id=A)])
    again = spool.append([make_draft("Second", event_id=A)])

    assert outcome(again) == [(1, True)]
    events = spool.spool.read(lane, 0, max_events=10, max_bytes=MIB).events
    assert [event.event_name for event in events if isinstance(event, Event)] == ["First"]


def test_a_duplicate_is_counted_but_not_accepted(spool: OpenSpool, lane: str) -> None:
    spool.append([make_draft(event_id=A)])
    spool.append([make_draft(event_id=A), make_draft(event_id=B), make_draft(event_id=A)])

    stats = spool.spool.stats()
    assert (stats.accepted, stats.duplicates, stats.pending) == (2, 2, 2)
    assert spool.lane(lane).accepted == 2


def test_an_id_again_after_a_restart_is_the_same_event(state_dir: Path, clock: FakeClock) -> None:
    with open_spool(state_dir, clock=clock) as opened:
        opened.append([make_draft(event_id=A)])
    with open_spool(state_dir, clock=clock) as opened:
        assert outcome(opened.append([make_draft(event_id=A)])) == [(1, True)]


def test_ids_that_share_their_first_bytes_are_two_events(spool: OpenSpool) -> None:
    assert outcome(spool.append([make_draft(event_id=A), make_draft(event_id=A_TWIN)])) == [(1, False), (2, False)]
    assert outcome(spool.append([make_draft(event_id=A_TWIN), make_draft(event_id=A)])) == [(2, True), (1, True)]


@pytest.mark.parametrize("position", [0, 1, 4999, 9999])
def test_an_id_made_here_is_recognised_when_a_caller_sends_it_back(spool: OpenSpool, position: int) -> None:
    made = [receipt.event_id for receipt in spool.append(make_drafts(10_000))]

    assert outcome(spool.append([make_draft(event_id=made[position])])) == [(position + 1, True)]


def test_ids_made_while_the_clock_jumps_are_all_recognised(spool: OpenSpool, clock: FakeClock) -> None:
    made: list[Receipt] = []
    for jump in (0, 5, -3600, 0.001, 7200, -100_000, 200_000):
        clock.jump_wall(jump)
        made += spool.append([*make_drafts(3), make_draft(event_id=bytes([len(made)]) * 16), *make_drafts(2)])

    again = spool.append([make_draft(event_id=receipt.event_id) for receipt in made])

    assert outcome(again) == [(receipt.seq, True) for receipt in made]


def test_an_id_made_here_is_recognised_after_a_restart(state_dir: Path, clock: FakeClock) -> None:
    with open_spool(state_dir, clock=clock) as opened:
        made = opened.append(make_drafts(5))
    clock.jump_wall(-60)
    with open_spool(state_dir, clock=clock) as opened:
        opened.append(make_drafts(5))
        assert outcome(opened.append([make_draft(event_id=made[3].event_id)])) == [(4, True)]


def test_a_callers_uuid_7_that_only_looks_like_ours_is_his_own(spool: OpenSpool) -> None:
    made = spool.append(make_drafts(3))[1].event_id
    alike = made[:8] + bytes([made[8] ^ 1]) + made[9:]

    assert outcome(spool.append([make_draft(event_id=alike)])) == [(4, False)]
    assert outcome(spool.append([make_draft(event_id=alike)])) == [(4, True)]
    assert outcome(spool.append([make_draft(event_id=made)])) == [(2, True)]


def test_an_id_is_free_again_once_its_event_is_forgotten(spool: OpenSpool, clock: FakeClock) -> None:
    made = spool.append([make_draft(event_id=A), make_draft()])[1].event_id
    clock.advance(7200)
    assert spool.spool.trim(100) == 2

    assert outcome(spool.append([make_draft(event_id=A), make_draft(event_id=made)])) == [(3, False), (4, False)]
    assert spool.rows("SELECT seq FROM caller_id ORDER BY seq") == [(3,), (4,)]


def test_an_event_is_found_by_its_id(spool: OpenSpool) -> None:
    receipts = spool.append([*make_drafts(3), make_draft("Chosen", event_id=A), *make_drafts(3)])

    for receipt in receipts:
        story = spool.spool.find(receipt.event_id)
        assert story is not None
        assert isinstance(story.event, Event)
        assert (story.event.seq, UUID(story.event.event_id).bytes) == (receipt.seq, receipt.event_id)
    assert spool.spool.find(B) is None
    assert spool.spool.find(receipts[0].event_id[:-3] + bytes(1) + receipts[0].event_id[-2:]) is None


def test_an_empty_journal_finds_nothing(spool: OpenSpool) -> None:
    assert spool.spool.find(A) is None
    made_elsewhere = A[:14] + spool.store.state.spool.id_tag
    assert spool.spool.find(made_elsewhere) is None
