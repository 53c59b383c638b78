"""A spool of format 1, as its daemon left it, opened by this version: everything is in it, and everything new works."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoold.record import Event
from spoold.spool.journal import JournalQueue
from spoold.spool.offline import open_offline
from spoold.spool.schema import migrate, shipped_migrations
from spoold.spool.values import RetryState, Selection
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft, make_record
from tests.support.spools import OpenSpool, open_spool
from tests.unit.spool.moves import asides, move, terms
from tests.unit.spool.replaying import run

EVENTS = 20
TAG = b"\x01\x02"


def event_id(seq: int) -> bytes:
    """Ids that a caller chose."""
    return bytes([seq]) * 16


def record(seq: int) -> bytes:
    draft = make_draft(f"Event {seq}", event_id=event_id(seq))
    return make_record(draft=draft, event_id=event_id(seq), received_at_ms=START_MS + seq * 1000)


@pytest.fixture
def old(state_dir: Path) -> Path:
    """Written with format 1's own columns: 2 of 20 events trimmed, one lane behind, one that was closed for a while."""
    queue = JournalQueue(state_dir, "fsync")
    execute = queue.connection.execute
    migrate(queue.connection, {1: shipped_migrations()[1]}, {1: 1})
    for seq in range(3, EVENTS + 1):
        execute(
            "INSERT INTO queue_journal (_id, data, timestamp) VALUES (?, ?, ?)",
            (seq, record(seq), START_MS / 1000 + seq),
        )
        execute("INSERT INTO caller_id VALUES (?, ?)", (event_id(seq)[:8], seq))
    dead = {"mixpanel": (5, 9), "crm": (9,)}
    dead_bytes = 0
    for lane, seqs in dead.items():
        for seq in seqs:
            reason, status = ("damaged", None) if seq == 5 else ("'time' is too old", 400)
            execute(
                "INSERT INTO set_aside"
                " (lane, seq, kind, record, reason, status, attempts, set_aside_at_ms, not_before_ms)"
                " VALUES (?, ?, 'dead', ?, ?, ?, 3, ?, 0)",
                (lane, seq, record(seq), reason, status, START_MS + 30_000),
            )
            dead_bytes += len(record(seq))
    last_id_ms = START_MS + EVENTS * 1000
    execute("INSERT INTO spool VALUES (1, 20, 4, 2, 20, ?, ?, 1, ?)", (last_id_ms, TAG, dead_bytes))
    # name, kind, is_closed, epoch, opened_seq, cursor, opened_at, closed_seq, accrued, the terms of I2, how the
    # attempts stand, the last settlement, and what trimmed ledger rows said: 2 delivered.
    execute(
        "INSERT INTO lane VALUES"
        " ('mixpanel', 'mixpanel', 0, 3, 0, 12, 0, 0, 0, 9, 2, 1, 0, 4, 1, 500, ?, '401', ?, ?, 2, 0, 0)",
        (START_MS + 500, START_MS, b"last one"),
    )
    # It had 1 to 10, missed 11 to 15, and has 16 to 20: 10 + 5 accepted.
    execute(
        "INSERT INTO lane VALUES"
        " ('crm', 'webhook', 0, 2, 0, 9, 15, 10, 10, 8, 1, 0, 0, 0, 0, 0, 0, '', 0, x'', 2, 0, 0)"
    )
    execute("INSERT INTO lane_gap VALUES ('crm', 10, 15, 5, 15)")
    for lane, upto, delivered, dead_count, filtered in (("mixpanel", 12, 7, 2, 1), ("crm", 9, 6, 1, 0)):
        execute(
            "INSERT INTO ledger (lane, after, upto, at_ms, took_ms, status, outcome, delivered, dead, filtered)"
            " VALUES (?, 2, ?, ?, 7, 200, 'partial', ?, ?, ?)",
            (lane, upto, START_MS, delivered, dead_count, filtered),
        )
    queue.close()
    return state_dir


@pytest.fixture
def opened(old: Path, clock: FakeClock) -> Iterator[OpenSpool]:
    clock.advance(60)
    with open_spool(old, clock=clock) as spool:
        yield spool


def test_everything_is_in_it(opened: OpenSpool) -> None:
    assert opened.rows("SELECT version, min_reader FROM schema") == [(3, 2)]
    assert terms(opened, "mixpanel") == (9, 2, 1, 0, 0, 8)
    assert terms(opened, "crm") == (8, 1, 0, 0, 0, 6)
    mixpanel, crm = opened.lane("mixpanel"), opened.lane("crm")
    assert (mixpanel.accepted, mixpanel.cursor, mixpanel.epoch, mixpanel.missed) == (20, 12, 3, 0)
    assert mixpanel.retry == RetryState(4, True, 500, START_MS + 500, "401", START_MS)
    assert (crm.accepted, crm.cursor, crm.missed) == (15, 9, 5)
    for lane in (mixpanel, crm):
        assert (lane.is_paused, lane.accepts_dead, lane.flushes, lane.deferred, lane.batches) == (
            False,
            False,
            0,
            0,
            (),
        )
    assert opened.seqs("mixpanel") == list(range(13, 21))
    assert opened.seqs("crm") == [10, *range(16, 21)]
    stats = opened.spool.stats()
    assert (stats.accepted, stats.duplicates, stats.damaged) == (20, 4, 1)
    assert (stats.pending, stats.retained) == (9, 9)
    assert stats.oldest_pending_at_ms == START_MS + 10_000


def test_its_dead_letters_are_listed_found_and_sent_again(opened: OpenSpool) -> None:
    (damaged, old) = opened.spool.dead("mixpanel", after=0, max_events=10)
    assert (damaged.event.seq, damaged.reason, damaged.status, damaged.attempts) == (5, "damaged", None, 3)
    assert isinstance(old.event, Event)
    assert (old.event.event_name, old.reason, old.status) == ("Event 9", "'time' is too old", 400)
    assert old.dead_at_ms == START_MS + 30_000
    assert [letter.lane for letter in opened.spool.find_dead(event_id(9))] == ["crm", "mixpanel"]

    number = opened.spool.start_replay(Selection("mixpanel", is_dead=True)).id

    assert run(opened, number) == ([], [5, 9])
    assert asides(opened, "mixpanel") == {5: "deferred", 9: "deferred"}
    move(opened, "mixpanel", released=(5, 9))
    assert terms(opened, "mixpanel") == (11, 0, 1, 0, 0, 8)


def test_its_events_are_sent_again_what_a_lane_missed_too(opened: OpenSpool) -> None:
    number = opened.spool.start_replay(Selection("crm")).id

    assert run(opened, number) == ([3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15], [9])


def test_ids_that_callers_chose_are_known(opened: OpenSpool) -> None:
    (receipt,) = opened.append([make_draft("Again", event_id=event_id(7))])
    assert (receipt.seq, receipt.duplicate) == (7, True)
    (receipt,) = opened.append([make_draft("New")])
    assert (receipt.seq, receipt.duplicate) == (21, False)

    story = opened.spool.find(event_id(11))
    assert story is not None
    assert [(fate.lane, fate.fate) for fate in story.lanes] == [("crm", "none"), ("mixpanel", "settled")]


def test_its_lanes_go_on_and_still_balance(opened: OpenSpool, clock: FakeClock) -> None:
    opened.spool.command("mixpanel", "accept_dead")
    move(opened, "mixpanel", 20, delivered=4, filtered=1, purged=1, dead=[13], deferred=[14])
    move(opened, "crm", 20, delivered=4, deferred=[16, 20])
    clock.advance(7200)

    assert opened.spool.trim(100) == 18

    assert terms(opened, "mixpanel") == (13, 3, 2, 1, 1, 1)
    assert terms(opened, "crm") == (12, 1, 0, 0, 2, 2)
    assert opened.spool.stats().pending == 3


def test_it_is_the_same_once_more(old: Path, clock: FakeClock) -> None:
    seen = []
    for _ in range(2):
        with open_spool(old, clock=clock) as spool:
            seen.append(
                (spool.spool.lanes(), spool.rows("SELECT * FROM set_aside"), spool.rows("SELECT * FROM ledger"))
            )
    assert seen[0] == seen[1]


def test_a_reader_while_the_daemon_is_down_sees_it_after_the_next_start(old: Path) -> None:
    with open_spool(old) as spool:
        expected = spool.spool.lanes()
    with open_offline(old) as offline:
        assert offline.lanes() == expected
        assert offline.pending() == 9
