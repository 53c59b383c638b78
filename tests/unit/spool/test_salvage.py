"""What is left of a damaged spool is brought over once: the same events, pending where they were pending."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoold.spool.quarantine import mark_damaged, quarantines
from spoold.spool.salvage import Salvager
from tests.support.clock import FakeClock
from tests.support.events import make_big_drafts, make_draft, make_drafts, make_identify_draft
from tests.support.spools import KIB, MIB, OpenSpool, open_spool
from tests.unit.spool.moves import make_deferred, move, terms
from tests.unit.spool.salvaging import Recovered, recover

EVENTS = 1000


@pytest.fixture
def old(state_dir: Path) -> Iterator[OpenSpool]:
    """1 000 events: lane a is done with 400 but for two dead and one that stands aside, lane b with 700."""
    with open_spool(state_dir) as opened:
        for lane in ("a", "b"):
            opened.spool.open_lane(lane, "mixpanel", "earliest")
        for start in range(0, EVENTS, 100):
            opened.append([make_draft(f"Event {number}") for number in range(start, start + 100)])
        move(opened, "a", 400, dead=[17, 300], deferred=[123], delivered=397)
        move(opened, "b", 700, delivered=700)
        yield opened


def ids(opened: OpenSpool) -> dict[int, str]:
    """Seq → id, as it stands in the journal."""
    rows = opened.rows("SELECT _id, lower(hex(substr(data, 3, 16))) FROM queue_journal ORDER BY _id")
    return {seq: f"{i[:8]}-{i[8:12]}-{i[12:16]}-{i[16:20]}-{i[20:]}" for seq, i in rows}


def close_as_damaged(opened: OpenSpool) -> None:
    mark_damaged(opened.directory, "database disk image is malformed")
    opened.spool.close()


def break_page(directory: Path, *, at: int = 0, data: bytes) -> None:
    """Overwrite a part of the page on which the 600th event stands."""
    content = bytearray((directory / "spool.db").read_bytes())
    start = content.index(b"Event 600") // 4096 * 4096 + at
    content[start : start + len(data)] = data
    (directory / "spool.db").write_bytes(content)


def test_each_lane_gets_what_it_had_pending_in_order(old: OpenSpool, state_dir: Path) -> None:
    known = ids(old)
    close_as_damaged(old)

    opened = recover(state_dir)
    [salvage] = opened.salvage()

    assert opened.pending("a") == [known[123], *(known[seq] for seq in range(401, EVENTS + 1))]
    assert opened.pending("b") == [known[seq] for seq in range(701, EVENTS + 1)]
    # What stood aside is found twice: there, and in the journal.
    assert (salvage.recovered, salvage.known, salvage.settled, salvage.dead) == (601, 1, 399, 2)
    assert (salvage.damaged, salvage.lost, salvage.holes) == (0, 0, "")
    assert opened.spool.stats().accepted == 601
    opened.spool.close()


def test_the_lanes_counters_go_on_and_balance(old: OpenSpool, state_dir: Path) -> None:
    before = {lane: terms(old, lane) for lane in ("a", "b")}
    close_as_damaged(old)

    opened = recover(state_dir)
    opened.salvage()

    for lane, (delivered, dead, filtered, purged, deferred, pending) in before.items():
        # What stood aside is on its way again.
        assert terms(opened, lane) == (delivered, dead, filtered, purged, 0, pending), lane
        assert deferred in (0, 1)
    opened.spool.close()


def test_dead_letters_keep_their_words(old: OpenSpool, state_dir: Path) -> None:
    before = old.spool.dead("a", after=0, max_events=10)
    close_as_damaged(old)

    opened = recover(state_dir)
    opened.salvage()

    assert opened.spool.dead("a", after=0, max_events=10) == before
    opened.spool.close()


def test_records_are_brought_over_byte_for_byte(old: OpenSpool, state_dir: Path) -> None:
    """I3: the id, the time, the caller's own id and the request, of every size."""
    drafts = [
        make_draft(caller_id="order-81", event_id=b"\x07" * 16),
        make_identify_draft(),
        *make_big_drafts(5, 30_000),
        *make_big_drafts(3, 4000),
    ]
    old.append(drafts)
    before = old.rows("SELECT data FROM queue_journal WHERE _id > 400 ORDER BY _id")
    close_as_damaged(old)

    opened = recover(state_dir)
    opened.salvage()

    assert (
        opened.rows("SELECT data FROM queue_journal WHERE _id > ? + 1 ORDER BY _id", opened.lane("a").cursor) == before
    )
    opened.spool.close()


def test_live_events_mingle_and_a_lane_that_was_done_passes_over_the_old_ones(old: OpenSpool, state_dir: Path) -> None:
    known = ids(old)
    close_as_damaged(old)
    opened = recover(state_dir)
    salvager = opened.salvager()
    live: list[str] = []
    while salvager.step(0.0) is not None:
        live += [receipt.event_id.hex() for receipt in opened.append(make_drafts(3))]

    b = [one.replace("-", "") for one in opened.pending("b")]

    assert sorted(b) == sorted([known[seq].replace("-", "") for seq in range(701, EVENTS + 1)] + live)
    terms(opened, "b")
    opened.spool.close()


def test_nothing_is_doubled_by_a_restart_at_any_step(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)
    opened = recover(state_dir)

    lives = 0
    while opened.salvage(steps=2)[0].is_running:
        opened.spool.close()
        opened = recover(state_dir)
        lives += 1

    [salvage] = opened.spool.salvages()
    assert lives > 2
    assert (salvage.recovered, salvage.known, salvage.settled, salvage.dead) == (601, 1, 399, 2)
    assert len(opened.pending("a")) == 601
    opened.spool.close()


def test_it_is_done_once(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)
    opened = recover(state_dir)
    opened.salvage()
    opened.settle(opened.spool.claim("a"), opened.store.state.spool.last_seq, delivered=601)
    opened.spool.close()

    opened = recover(state_dir)

    assert opened.salvager().step(0.0) is None
    assert opened.pending("a") == []
    opened.spool.close()


def test_an_event_that_its_caller_repeated_meanwhile_is_not_doubled(old: OpenSpool, state_dir: Path) -> None:
    old.append([make_draft("Order Paid", event_id=b"\x07" * 16)])
    close_as_damaged(old)
    opened = recover(state_dir)
    opened.append([make_draft("Order Paid", event_id=b"\x07" * 16)])

    [salvage] = opened.salvage()

    assert (salvage.recovered, salvage.known) == (601, 2)
    assert len(set(opened.pending("a"))) == len(opened.pending("a")) == 602
    opened.spool.close()


def test_a_repeat_of_what_was_salvaged_is_recognised(old: OpenSpool, state_dir: Path) -> None:
    old.append([make_draft("Order Paid", event_id=b"\x07" * 16)])
    close_as_damaged(old)
    opened = recover(state_dir)
    opened.salvage()

    assert opened.append([make_draft("Order Paid", event_id=b"\x07" * 16)])[0].duplicate
    opened.spool.close()


def test_where_the_cursor_can_not_be_read_all_is_pending_in_all_lanes(old: OpenSpool, state_dir: Path) -> None:
    known = ids(old)
    close_as_damaged(old)
    with open_spool(state_dir):
        pass
    with sqlite3.connect(state_dir / "spool.db") as connection:
        # No checksum covers it; but the counters say something else.
        connection.execute("UPDATE lane SET cursor = 800 WHERE name = 'a'")
    connection.close()

    opened = recover(state_dir)
    opened.salvage()

    assert sorted(opened.pending("a")) == sorted(known.values())
    assert opened.pending("b") == [known[seq] for seq in range(701, EVENTS + 1)]
    opened.spool.close()


def test_a_page_that_is_gone_costs_its_own_events_alone(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)
    with open_spool(state_dir):
        pass
    break_page(state_dir, data=b"\0" * 4096)

    opened = recover(state_dir)
    [salvage] = opened.salvage()

    first, _, last = salvage.holes.partition("-")
    assert 0 < salvage.lost == int(last) - int(first) + 1 < 70
    assert salvage.recovered + salvage.settled + salvage.lost == EVENTS
    opened.spool.close()


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_page_whose_header_is_damaged_gives_its_events_all_the_same(old: OpenSpool, state_dir: Path, at: int) -> None:
    close_as_damaged(old)
    with open_spool(state_dir):
        pass
    break_page(state_dir, at=at, data=b"\x01")

    opened = recover(state_dir)
    [salvage] = opened.salvage()

    assert salvage.lost == 0
    assert len(set(opened.pending("a"))) == 601
    opened.spool.close()


def test_a_lane_that_left_the_configuration_keeps_what_it_had_pending(old: OpenSpool, state_dir: Path) -> None:
    old.spool.close_lane("a")
    close_as_damaged(old)

    opened = recover(state_dir, lanes=("b",))
    opened.salvage()

    lane = opened.lane("a")
    assert (lane.is_closed, lane.pending) == (True, 601)
    opened.spool.open_lane("a", "mixpanel", "latest")
    assert len(opened.pending("a")) == 601
    opened.spool.close()


def test_a_lane_that_is_new_gets_none_of_it(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)

    opened = recover(state_dir, lanes=("a", "b", "new"))
    opened.salvage()

    assert opened.lane("new").accepted == 0
    opened.spool.close()


def test_an_operators_pause_outlives_the_damage(old: OpenSpool, state_dir: Path) -> None:
    old.spool.command("a", "pause")
    close_as_damaged(old)

    opened = recover(state_dir)

    assert opened.lane("a").is_paused
    opened.spool.close()


def test_a_full_spool_waits_and_goes_on_when_there_is_room(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)
    opened = recover(state_dir, max_bytes=200 * KIB)

    [salvage] = opened.salvage(steps=50)
    assert salvage.is_running
    opened.spool.limit(opened.limits.__class__(64 * MIB, MIB), retention_seconds=60)
    [salvage] = opened.salvage()

    assert salvage.recovered == 601
    opened.spool.close()


def test_files_that_can_not_be_read_are_told_and_tried_again_at_the_next_start(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)
    opened = recover(state_dir)
    [moved] = quarantines(state_dir)
    hidden = moved.folder.rename(state_dir / "elsewhere")
    (moved.folder).mkdir()
    (moved.folder / "spool.db").mkdir()

    opened.salvage(steps=20)
    assert [reason for _, reason in opened.unread] == ["Is a directory"]
    assert opened.spool.salvages()[0].is_running
    opened.spool.close()
    (moved.folder / "spool.db").rmdir()
    moved.folder.rmdir()
    hidden.rename(moved.folder)
    opened = recover(state_dir)

    assert opened.salvage()[0].recovered == 601
    opened.spool.close()


def test_a_spool_that_is_damaged_again_takes_up_the_first_salvage_where_it_was(old: OpenSpool, state_dir: Path) -> None:
    known = ids(old)
    close_as_damaged(old)
    opened = recover(state_dir)
    opened.salvage(steps=4)
    assert opened.spool.salvages()[0].is_running
    opened.clock = FakeClock(opened.clock.wall_ms() + 60_000)
    close_as_damaged(opened)

    again: Recovered = recover(state_dir)
    first, second = again.salvage()

    assert not first.is_running
    assert not second.is_running
    assert sorted(again.pending("a")) == sorted([known[123], *(known[seq] for seq in range(401, EVENTS + 1))])
    terms(again, "a")
    again.spool.close()


def test_a_spool_that_is_damaged_again_does_not_begin_the_first_salvage_anew(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)
    opened = recover(state_dir)
    opened.salvage()
    for lane, count in (("a", 601), ("b", 300)):
        opened.settle(opened.spool.claim(lane), opened.store.state.spool.last_seq, delivered=count)
    opened.clock = FakeClock(opened.clock.wall_ms() + 60_000)
    close_as_damaged(opened)

    again = recover(state_dir)
    first, second = again.salvage()

    assert (first.recovered, second.recovered, second.settled) == (601, 0, 601)
    assert again.pending("a") == again.pending("b") == []
    assert terms(again, "a") == (998, 2, 0, 0, 0, 0)
    again.spool.close()


def test_what_was_forgotten_does_not_come_back(state_dir: Path) -> None:
    """Its pages are free, and its rows still stand on them."""
    clock = FakeClock()
    with open_spool(state_dir, clock=clock, retention_seconds=1) as opened:
        opened.spool.open_lane("a", "mixpanel", "earliest")
        opened.append(make_drafts(EVENTS))
        move(opened, "a", 900, delivered=900)
        clock.advance(60)
        while opened.spool.trim(100):
            pass
        known = ids(opened)
        opened.rows("UPDATE lane SET delivered = 7")
        close_as_damaged(opened)

    later = recover(state_dir, lanes=("a",))
    [salvage] = later.salvage()

    assert len(known) == 100
    assert sorted(later.pending("a")) == sorted(known.values())
    assert salvage.lost == 0
    later.spool.close()


def test_a_seq_that_is_damaged_hides_no_event(old: OpenSpool, state_dir: Path) -> None:
    """Event 600 says that it is event 88, with which every lane was done."""
    known = ids(old)
    close_as_damaged(old)
    with open_spool(state_dir):
        pass
    content = bytearray((state_dir / "spool.db").read_bytes())
    record = content.index(bytes.fromhex(known[600].replace("-", ""))) - 2
    # The row: its size, its seq (600 in two bytes), its header of four or five bytes, its values.
    seq = content.rindex(b"\x84\x58", record - 12, record)
    content[seq] ^= 0x04
    (state_dir / "spool.db").write_bytes(content)

    opened = recover(state_dir)
    opened.salvage()

    assert known[600] in opened.pending("a")
    opened.spool.close()


def test_the_files_are_closed_between_two_salvages(old: OpenSpool, state_dir: Path) -> None:
    close_as_damaged(old)
    opened = recover(state_dir)
    salvager: Salvager = opened.salvager()

    while salvager.step(0.0) is not None:
        pass

    assert opened.told[0].finished_at_ms is not None
    assert salvager._remains is None
    opened.spool.close()


def test_deferred_in_one_lane_and_ahead_in_another_goes_to_both(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        for lane in ("a", "b"):
            opened.spool.open_lane(lane, "mixpanel", "earliest")
        opened.append(make_drafts(10))
        known = ids(opened)
        move(opened, "a", 10, deferred=[make_deferred(4), make_deferred(9)], delivered=8)
        close_as_damaged(opened)

    later = recover(state_dir)
    later.salvage()

    assert later.pending("a") == [known[4], known[9]]
    assert sorted(later.pending("b")) == sorted(known.values())
    later.spool.close()
