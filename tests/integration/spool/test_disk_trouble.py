"""A disk that crashes, loses power, fills up or fails under a real spool: what was acknowledged is there afterwards."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from spoold.errors import SpoolError, SpoolFailedError, SpoolFullError
from spoold.record import Event
from tests.sim.disk import Operation, SimDisk, StopKind
from tests.support.events import make_big_drafts, make_draft, make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool

LANE = "mixpanel"


@contextmanager
def spool_on_disk(directory: Path, seed: int = 1, *, durability: str = "fsync") -> Iterator[tuple[OpenSpool, SimDisk]]:
    """An open spool with one lane, and the disk below it."""
    home = directory / "live"
    home.mkdir(exist_ok=True)
    with SimDisk(home, random.Random(seed)) as disk, open_spool(home, durability=durability) as opened:
        opened.spool.open_lane(LANE, LANE, "earliest")
        yield opened, disk


def stored(directory: Path) -> list[str]:
    """The names of the events that a start on this directory finds."""
    with open_spool(directory) as opened:
        page = opened.spool.read(LANE, 0, max_events=1000, max_bytes=100 * MIB)
        assert opened.rows("PRAGMA integrity_check") == [("ok",)]
        assert opened.lane(LANE).pending == len(page.events)
        return [event.event_name for event in page.events if isinstance(event, Event)]


@pytest.mark.parametrize("end", ["crash", "cut_power"])
def test_a_receipt_means_that_the_event_survives(state_dir: Path, end: str) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        for number in range(30):
            opened.append([make_draft(f"{number}")])
            image = getattr(disk, end)(state_dir / f"image {number}").directory
            assert stored(image) == [f"{one}" for one in range(number + 1)]


def test_what_has_no_receipt_yet_is_not_there(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append([make_draft("first")])
        future = opened.spool.append([make_draft("second")])
        assert stored(disk.crash(state_dir / "before").directory) == ["first"]
        opened.commit()
        future.result(timeout=0)
        assert stored(disk.crash(state_dir / "after").directory) == ["first", "second"]


def test_the_weaker_durability_survives_a_crash_but_may_lose_in_a_power_cut(state_dir: Path) -> None:
    lost = 0
    with spool_on_disk(state_dir, durability="os") as (opened, disk):
        for number in range(20):
            opened.append([make_draft(f"{number}")])
            names = [f"{one}" for one in range(number + 1)]
            assert stored(disk.crash(state_dir / f"crash {number}").directory) == names
            survived = disk.cut_power(state_dir / f"cut {number}").directory
            with suppress(SpoolError, StopIteration):
                lost += stored(survived) != names
    assert lost


@pytest.mark.parametrize("end", ["crash", "cut_power"])
def test_a_call_is_all_there_or_not_at_all(state_dir: Path, end: StopKind) -> None:
    outcomes = set()
    for seed in range(72):
        operations, home = seed % 12, state_dir / f"{seed}"
        home.mkdir()
        with spool_on_disk(home, seed) as (opened, disk):
            opened.append(make_drafts(3, "Before"))
            disk.stop_after(operations, end, home / "image")
            future = opened.spool.append(make_drafts(8))
            with suppress(SpoolError):
                opened.commit()
            is_answered = future.exception(timeout=0) is None
            if disk.successor is None:
                continue
        count = len(stored(disk.successor.directory))
        assert count in ({11} if is_answered else {3, 11})
        outcomes.add((count, is_answered))
    assert {(3, False)} < outcomes, "cuts hit before and after the point of no return"


def test_a_group_of_calls_costs_one_sync(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append(make_drafts(1))
        syncs = disk.syncs
        for _ in range(50):
            opened.spool.append(make_drafts(2))
        opened.commit()
        assert disk.syncs - syncs == 1
        opened.append(make_drafts(1))
        assert disk.syncs - syncs == 2
        lease = opened.spool.claim(LANE)
        opened.settle(lease, 10)
        assert disk.syncs - syncs == 4


@pytest.mark.parametrize("nth", [*range(12), 25, 50, 75])
def test_a_full_disk_refuses_the_append_and_lets_the_settle_pass(state_dir: Path, nth: int) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append(make_drafts(4, "Before"))
        lease = opened.spool.claim(LANE)
        opened.spool.trim(1)
        assert (opened.directory / "reserve").exists()

        disk.fail("write", "enospc", after=nth)
        future = opened.spool.append(make_big_drafts(10))
        opened.settle(lease, 3, dead=[2])

        error = future.exception(timeout=0)
        assert isinstance(error, SpoolFullError)
        assert (error.reason, opened.spool.stats().refusing) == ("disk", "disk")
        assert not (opened.directory / "reserve").exists()
        state = opened.lane(LANE)
        assert (state.delivered, state.dead, state.pending) == (2, 1, 1)

        opened.spool.trim(1)
        assert (opened.directory / "reserve").exists()
        assert len(opened.append(make_big_drafts(10))) == 10
        image = disk.crash(state_dir / "image").directory
    with open_spool(image) as again:
        assert again.seqs(LANE) == [4, *range(5, 15)]


def test_while_the_disk_is_full_appends_are_refused_without_trying(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        disk.fail("write", "enospc")
        with pytest.raises(SpoolFullError):
            opened.append(make_drafts(1))
        writes = disk.writes
        with pytest.raises(SpoolFullError, match="the disk was full at the last attempt"):
            opened.append(make_drafts(1))
        assert disk.writes == writes


def test_where_no_commit_fits_a_settle_waits_and_all_others_are_refused(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append(make_drafts(4))
        lease = opened.spool.claim(LANE)
        disk.fail("write", "enospc", times=None)
        future = opened.spool.append(make_drafts(2))
        # In one thread: it would wait for ever.
        with pytest.raises(TimeoutError):
            opened.settle(lease, 2)
        assert opened.spool.commits.is_held
        assert isinstance(future.exception(timeout=0), SpoolFullError)
        with pytest.raises(SpoolFullError):
            opened.spool.command(LANE, "pause")
        assert (opened.spool.stats().refusing, opened.lane(LANE).delivered) == ("disk", 0)
        image = disk.crash(state_dir / "image").directory

        disk.heal()
        opened.clock.advance(1.0)  # type: ignore[attr-defined]
        assert opened.spool.commits.step(opened.clock.monotonic()) is None
        assert opened.lane(LANE).delivered == 2
        opened.spool.trim(1)
        assert len(opened.append(make_drafts(2))) == 2
    assert len(stored(image)) == 4


def test_while_the_disk_has_no_room_what_waits_is_tried_once_a_second(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append(make_drafts(4))
        lease = opened.spool.claim(LANE)
        disk.fail("write", "enospc", times=None)
        with pytest.raises(TimeoutError):
            opened.settle(lease, 2)
        now = opened.clock.monotonic()

        assert opened.spool.commits.step(now) == pytest.approx(1.0)
        assert opened.spool.commits.step(now + 0.4) == pytest.approx(0.6)
        disk.heal()
        assert opened.spool.commits.step(now + 0.9) == pytest.approx(0.1)
        assert opened.lane(LANE).delivered == 0
        assert opened.spool.commits.step(now + 1.0) is None
        assert opened.lane(LANE).delivered == 2


def test_a_stop_waits_for_no_room(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append(make_drafts(4))
        lease = opened.spool.claim(LANE)
        disk.fail("write", "enospc", times=None)
        opened.spool.stop_accepting()
        with pytest.raises(SpoolFullError):
            opened.settle(lease, 2)
        assert not opened.spool.commits.is_held
        disk.heal()
    assert len(stored(opened.directory)) == 4


def test_a_sync_that_fails_ends_the_process_and_everybody_is_answered(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append(make_drafts(3))
        disk.fail("sync", "eio")
        futures = [opened.spool.append(make_drafts(2)) for _ in range(5)]
        write = opened.spool.commits.submit_write(lambda _tx: None)
        with pytest.raises(SpoolFailedError):
            opened.commit()
        later = opened.spool.append(make_drafts(2))
        answers = [future.exception(timeout=0) for future in (*futures, later)] + [write.exception(timeout=0)]
        assert {type(answer) for answer in answers} == {SpoolFailedError}
        image = disk.crash(state_dir / "image").directory
    assert stored(image)[:3] == ["Order Paid 0", "Order Paid 1", "Order Paid 2"]


@pytest.mark.parametrize("how", ["crash", "cut_power"])
@pytest.mark.parametrize("nth", range(4))
def test_what_had_a_receipt_before_a_sync_failed_is_there_afterwards(state_dir: Path, how: str, nth: int) -> None:
    """The process ends; what the next one reads, and what it appends behind that, survives a power cut too."""
    with spool_on_disk(state_dir, nth) as (opened, disk):
        disk.fail("sync", "eio", after=nth)
        futures = []
        for number in range(nth + 1):
            futures.append(opened.spool.append([make_draft(f"{number}")]))
            with suppress(SpoolFailedError):
                opened.commit()
        assert [future.exception(timeout=0) is None for future in futures] == [True] * nth + [False]
        left = disk.crash(state_dir / "left")
    with left, open_spool(left.directory) as again:
        again.append([make_draft("behind")])
        image = getattr(left, how)(state_dir / "image").directory
    names = stored(image)
    assert names[:nth] == [f"{number}" for number in range(nth)]
    assert names[-1] == "behind"


@pytest.mark.parametrize(("operation", "after"), [("sync", 0), ("sync", 1), ("write", 0), ("write", 20)])
def test_a_checkpoint_on_a_bad_disk_is_a_failure_and_loses_nothing(
    state_dir: Path, operation: Operation, after: int
) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        opened.append(make_big_drafts(4))
        disk.fail(operation, "eio", after=after, times=None)
        with pytest.raises(SpoolFailedError):
            opened.store.checkpoint()
        disk.heal()
        image = disk.crash(state_dir / "image").directory
    assert len(stored(image)) == 4


def test_a_vacuum_that_fails_answers_whoever_trims(state_dir: Path) -> None:
    with spool_on_disk(state_dir) as (opened, disk):
        for _ in range(3):
            opened.append(make_big_drafts(100))
        opened.settle(opened.spool.claim(LANE), 300)
        opened.clock.advance(7200)  # type: ignore[attr-defined]
        opened.spool.trim(250)
        disk.fail("sync", "eio", after=1)
        with pytest.raises(SpoolFailedError):
            opened.spool.trim(50)
