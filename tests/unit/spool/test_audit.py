"""An audit finds each counter, and each row, that was changed behind the spool's back, and names it."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from spoold.spool import trail
from spoold.spool.balance import AuditPosition
from tests.support.clock import FakeClock
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool, open_spool
from tests.unit.spool.auditing import audit
from tests.unit.spool.moves import move
from tests.unit.spool.replaying import LANE, fill

#: What is done to the file, and the (lane, term, place) that the audit names, the one that is at fault among them.
FALSE: dict[str, tuple[str, set[tuple[str, str, str]]]] = {
    "delivered": (
        "UPDATE lane SET delivered = delivered - 1",
        {(LANE, "delivered", "ledger"), (LANE, "ahead", "journal")},
    ),
    "filtered": (
        "UPDATE lane SET filtered = filtered - 1",
        {(LANE, "filtered", "ledger"), (LANE, "ahead", "journal")},
    ),
    "purged": ("UPDATE lane SET purged = purged - 1", {(LANE, "purged", "ledger"), (LANE, "ahead", "journal")}),
    "dead": (
        "UPDATE lane SET dead = dead + 1",
        {(LANE, "dead", "ledger"), (LANE, "dead", "set-aside"), (LANE, "ahead", "journal")},
    ),
    "deferred": (
        "UPDATE lane SET deferred = deferred + 1",
        {(LANE, "deferred", "set-aside"), (LANE, "ahead", "journal")},
    ),
    "accepted by the lane": ("UPDATE lane SET accrued = accrued + 1", {(LANE, "ahead", "journal")}),
    "since when it accrues": ("UPDATE lane SET opened_at = opened_at - 2", {(LANE, "ahead", "journal")}),
    "the cursor": ("UPDATE lane SET cursor = cursor + 1", {(LANE, "ahead", "journal")}),
    "a gap": ("UPDATE lane_gap SET upto = upto + 1", {(LANE, "ahead", "journal")}),
    "base of delivered": ("UPDATE lane SET base_delivered = 1", {(LANE, "delivered", "ledger")}),
    "base of dead": ("UPDATE lane SET base_dead = -1", {(LANE, "dead", "ledger")}),
    "base of filtered": ("UPDATE lane SET base_filtered = 1", {(LANE, "filtered", "ledger")}),
    "base of purged": ("UPDATE lane SET base_purged = 1", {(LANE, "purged", "ledger")}),
    "a ledger row": ("UPDATE ledger SET delivered = 2 WHERE delivered", {(LANE, "delivered", "ledger")}),
    "a ledger row that is gone": (
        "DELETE FROM ledger",
        {(LANE, term, "ledger") for term in ("delivered", "dead", "filtered", "purged")},
    ),
    "a dead letter that is gone": (
        "DELETE FROM set_aside WHERE kind = 'dead'",
        {(LANE, "dead", "set-aside"), ("", "dead_bytes", "set-aside")},
    ),
    "a deferred event that is gone": (
        "DELETE FROM set_aside WHERE kind = 'deferred'",
        {(LANE, "deferred", "set-aside")},
    ),
    "a dead letter's record": (
        "UPDATE set_aside SET record = x'00' WHERE kind = 'dead'",
        {("", "dead_bytes", "set-aside")},
    ),
    "an event that is gone": (
        "DELETE FROM queue_journal WHERE _id = 10",
        {(LANE, "ahead", "journal"), ("", "stored", "journal")},
    ),
    "a settled event that is gone": ("DELETE FROM queue_journal WHERE _id = 5", {("", "stored", "journal")}),
    "the last event": (
        "DELETE FROM queue_journal WHERE _id = 13",
        {(LANE, "ahead", "journal"), ("", "stored", "journal")},
    ),
    "accepted by the spool": (
        "UPDATE spool SET accepted = accepted + 1",
        {(LANE, "ahead", "journal"), ("", "stored", "journal")},
    ),
    "trimmed": ("UPDATE spool SET trimmed = trimmed + 1", {("", "stored", "journal")}),
    "dead bytes": ("UPDATE spool SET dead_bytes = dead_bytes + 1", {("", "dead_bytes", "set-aside")}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool that balances, closed: one lane that knows every fate."""
    directory = tmp_path_factory.mktemp("whole")
    clock = FakeClock()
    with open_spool(directory, clock=clock) as opened:
        fill(opened, clock)
        assert audit(opened).is_ok
    return directory


@pytest.mark.parametrize("what", FALSE)
@pytest.mark.parametrize("max_rows", [1, 1000])
def test_what_is_false_is_found_and_named(whole: Path, state_dir: Path, what: str, max_rows: int) -> None:
    sql, named = FALSE[what]
    shutil.copytree(whole, state_dir, dirs_exist_ok=True)
    connection = sqlite3.connect(state_dir / "spool.db")
    assert connection.execute(sql).rowcount > 0
    connection.commit()
    connection.close()

    with open_spool(state_dir) as opened:
        found = audit(opened, max_rows)

    assert not found.is_ok
    assert {(*one[:2], one.place) for one in found.imbalances} == named
    assert found.events == sum(abs(one.counted - one.counter) for one in found.imbalances if one.term != "dead_bytes")


def test_an_event_that_is_gone_is_in_no_term(mixed: OpenSpool) -> None:
    mixed.store.connection.execute("DELETE FROM queue_journal WHERE _id = 10")

    (lane,) = audit(mixed).lanes

    assert (lane.pending, lane.balance) == (2, 1)
    assert "lane l: ahead is 2 by its counter, and 1 by what is in the journal" in map(str, audit(mixed).imbalances)


def test_a_spool_without_anything_balances(spool: OpenSpool) -> None:
    assert audit(spool).is_ok
    spool.spool.open_lane("late", "mixpanel", "earliest")

    assert [lane[1:] for lane in audit(spool).lanes] == [(0, 0, 0, 0, 0, 0)]


def test_a_row_that_follows_a_trimmed_one_is_counted(spool: OpenSpool, clock: FakeClock) -> None:
    """SQLite gives the newest row's id again when that row is gone, here beside an older one of a lane further on."""
    for name in ("ahead", "behind"):
        spool.spool.open_lane(name, "mixpanel", "earliest")
    spool.append(make_drafts(2))
    clock.advance(10_000)
    spool.append(make_drafts(3))
    move(spool, "ahead", 5, delivered=5)
    move(spool, "behind", 2, delivered=2)
    position, _, _ = spool.spool.audit(None, max_rows=2)

    assert spool.spool.trim(10) == 2
    move(spool, "behind", 3, delivered=1)
    outcome = audit(spool, 2, position)

    assert outcome.is_ok, outcome.imbalances


def test_where_the_trail_is_lost_the_count_begins_again(spool: OpenSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "_MAX_CHANGES", 3)
    spool.store.trail = trail.Trail(0)
    spool.spool.open_lane("l", "mixpanel", "earliest")
    spool.append(make_drafts(20))
    move(spool, "l", 10, dead=range(1, 11))
    position: AuditPosition | None = None
    for _ in range(4):
        position, _, _ = spool.spool.audit(position, max_rows=3)

    move(spool, "l", deferred=[2, 3, 4, 10])
    outcome = audit(spool, 3, position)

    assert outcome.is_ok, outcome.imbalances
    assert [lane[2:] for lane in outcome.lanes] == [(0, 6, 0, 0, 14)]


def test_nothing_stays_pinned_between_two_pages(spool: OpenSpool) -> None:
    spool.append(make_drafts(50))
    position, _, _ = spool.spool.audit(None, max_rows=5)
    assert position is not None
    spool.append(make_drafts(50))

    done = spool.store.checkpoint()

    assert done.done == done.frames > 0
