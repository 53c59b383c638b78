"""What keeps the spool small takes one small step at a time."""

from spoold.spool.balance import Audit
from spoold.spool.housekeeping import Housekeeper
from spoold.spool.values import SpoolStats
from tests.support.clock import FakeClock
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool


def test_it_trims_in_steps_of_500_with_pauses_while_there_is_more(spool: OpenSpool, clock: FakeClock) -> None:
    spool.append(make_drafts(1200))
    clock.advance(7200)
    seen: list[SpoolStats] = []
    housekeeper = Housekeeper(spool.spool, seen.append, on_audit=list[Audit]().append)

    waits = [housekeeper.step(clock.monotonic()) for _ in range(4)]

    assert waits == [0.01, 0.01, 1.0, 1.0]
    assert [stats.retained for stats in seen] == [700, 200, 0, 0]


def test_it_notices_that_there_is_room_again(spool: OpenSpool, clock: FakeClock) -> None:
    seen: list[SpoolStats] = []
    housekeeper = Housekeeper(spool.spool, seen.append, on_audit=list[Audit]().append)
    spool.space.note_disk_full()
    assert spool.spool.stats().refusing == "disk"

    housekeeper.step(clock.monotonic())

    assert [stats.refusing for stats in seen] == [None]
    assert (spool.directory / "reserve").exists()


def test_a_small_spool_is_audited_at_each_look(spool: OpenSpool, clock: FakeClock) -> None:
    spool.append(make_drafts(900))
    audits: list[Audit] = []
    housekeeper = Housekeeper(spool.spool, list[SpoolStats]().append, audits.append)

    housekeeper.step(clock.monotonic())
    spool.store.connection.execute("DELETE FROM queue_journal WHERE _id = 7")
    housekeeper.step(clock.monotonic())

    assert [audit.is_ok for audit in audits] == [True, False]


def test_a_large_spool_is_audited_in_pages_over_many_looks(spool: OpenSpool, clock: FakeClock) -> None:
    spool.append(make_drafts(9_500))
    audits: list[Audit] = []
    housekeeper = Housekeeper(spool.spool, list[SpoolStats]().append, audits.append)

    looks = 0
    while not audits:
        housekeeper.step(clock.monotonic())
        looks += 1

    # A page of the empty ledger, one of what stands aside, ten of the journal; four pages a look.
    assert looks == 3
    assert audits[0].is_ok
