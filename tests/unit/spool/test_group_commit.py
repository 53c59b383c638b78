"""Who waits for whom before a commit, and that everybody is answered. Steps only: no thread, a clock that stands."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

import pytest

from spoold.errors import SpoolClosedError, SpoolCorruptError, SpoolFailedError
from spoold.spool.group_commit import GroupCommit
from spoold.spool.store import Store, commit
from spoold.spool.transaction import Transaction
from spoold.spool.values import Receipt
from tests.support.clock import FakeClock
from tests.support.events import make_big_drafts, make_draft, make_drafts
from tests.support.spools import KIB, OpenSpool, open_spool


class Callers:
    """Callers with one event each, and the writer whose steps a test takes."""

    def __init__(self, opened: OpenSpool, clock: FakeClock) -> None:
        self.opened = opened
        self.clock = clock
        self.commits: GroupCommit = opened.spool.commits
        self.commits.wake = self._note_wake
        self.wakes = 0

    def call(self, count: int = 1) -> "list[Future[list[Receipt]]]":
        return [self.opened.spool.append([make_draft()]) for _ in range(count)]

    def step(self) -> float | None:
        return self.commits.step(self.clock.monotonic())

    @property
    def groups(self) -> list[int]:
        return self.opened.watcher.groups

    def _note_wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def callers(spool: OpenSpool, clock: FakeClock) -> Callers:
    return Callers(spool, clock)


def test_a_lone_caller_waits_for_nobody(callers: Callers) -> None:
    future = callers.call()[0]

    assert callers.wakes == 1
    assert callers.step() is None
    assert future.done()


def test_nothing_to_do_waits_to_be_woken(callers: Callers) -> None:
    assert callers.step() is None
    assert callers.groups == []


@pytest.mark.parametrize("in_flight", [1, 2, 3, 4])
def test_up_to_four_in_flight_nobody_waits_for_company(callers: Callers, in_flight: int) -> None:
    for _ in range(3):
        callers.call(in_flight)
        callers.step()
    callers.call()
    callers.step()

    assert callers.groups == [in_flight] * 3 + [1]


@pytest.mark.parametrize(("recent", "threshold"), [(5, 3), (8, 6), (16, 12), (64, 48)])
def test_a_group_waits_for_three_quarters_of_the_recent_number(callers: Callers, recent: int, threshold: int) -> None:
    callers.call(recent)
    callers.step()

    callers.call(threshold - 1)
    assert callers.step() == pytest.approx(0.005)
    callers.call()
    assert callers.step() is None

    assert callers.groups == [recent, threshold]


def test_company_is_waited_for_5_milliseconds_from_the_first(callers: Callers, clock: FakeClock) -> None:
    callers.call(8)
    callers.step()
    callers.call()
    waits = [callers.step()]
    clock.advance(0.003)
    callers.call()
    waits.append(callers.step())
    clock.advance(0.002)
    waits.append(callers.step())

    assert waits == [pytest.approx(0.005), pytest.approx(0.002), None]
    assert callers.groups == [8, 2]


def test_who_waited_in_vain_is_not_kept_waiting_again(callers: Callers, clock: FakeClock) -> None:
    callers.call(64)
    callers.step()
    callers.call()
    callers.step()
    clock.advance(0.005)
    callers.step()

    callers.call()
    assert callers.step() is None
    assert callers.groups == [64, 1, 1]


def test_the_recent_number_sinks_slowly(callers: Callers) -> None:
    callers.call(20)
    callers.step()
    for _ in range(3):
        callers.call(15)
        assert callers.step() is None

    callers.call(10)
    assert callers.step() == pytest.approx(0.005)
    callers.call()
    assert callers.step() is None, "three quarters of 15"
    assert callers.groups == [20, 15, 15, 15, 11]


def test_who_comes_in_during_a_commit_is_in_flight_too(state_dir: Path, clock: FakeClock) -> None:
    def meanwhile(connection: sqlite3.Connection) -> None:
        if not mine.groups:
            mine.call(4)
        commit(connection)

    with open_spool(state_dir, clock=clock, commit=meanwhile) as opened:
        mine = Callers(opened, clock)
        mine.call()
        assert [mine.step(), mine.step()] == [0, None]
        mine.call(2)
        assert mine.step() == pytest.approx(0.005), "three quarters of 5 are 3"
        assert mine.groups == [1, 4]


def test_a_settle_waits_for_no_company_and_takes_what_is_there(callers: Callers) -> None:
    callers.call(8)
    callers.step()
    waiting = callers.call(2)
    assert callers.step() is not None
    future = callers.commits.submit_write(lambda _tx: "settled")
    callers.step()

    assert future.result(timeout=0) == "settled"
    assert all(one.done() for one in waiting)
    assert callers.groups == [8, 2]


def test_the_writer_is_woken_by_the_first_and_by_the_last_it_waits_for(callers: Callers) -> None:
    callers.call(8)
    callers.step()
    callers.wakes = 0

    wakes = []
    for _ in range(8):
        callers.call()
        wakes.append(callers.wakes)

    assert wakes == [1, 1, 1, 1, 1, 2, 2, 2]


def test_what_comes_in_during_a_commit_is_taken_at_once_after_it(callers: Callers) -> None:
    first = callers.call()[0]
    first.add_done_callback(lambda _future: callers.call())

    assert callers.step() == 0
    assert callers.step() is None
    assert callers.groups == [1, 1]


def test_a_job_runs_between_commits_and_answers(callers: Callers) -> None:
    callers.call()
    future = callers.commits.submit_job(lambda store: store.state.spool.accepted)
    callers.step()

    assert future.result(timeout=0) == 1


def test_waiting_bytes_are_those_of_calls_not_yet_committed(callers: Callers) -> None:
    assert callers.commits.waiting_bytes == 0
    callers.call(3)
    waiting = callers.commits.waiting_bytes
    callers.step()

    assert 3 * 40 < waiting < 3 * 200
    assert (callers.commits.waiting_bytes, callers.commits.waiting_calls) == (0, 0)


def break_disk(_subject: Store | Transaction) -> NoReturn:
    raise SpoolFailedError("the disk failed")


def break_rule(_tx: Transaction) -> NoReturn:
    raise ValueError("that can't be")


def break_statement(tx: Transaction) -> None:
    tx.connection.execute("SELECT no_such_column FROM spool")


@pytest.mark.parametrize("write", [break_rule, break_statement])
def test_a_change_that_can_not_be_ends_the_writer_and_everybody_is_answered(
    callers: Callers, write: Callable[[Transaction], None]
) -> None:
    appends = callers.call(2)
    first = callers.commits.submit_write(write)
    second = callers.commits.submit_write(lambda _tx: None)
    job = callers.commits.submit_job(lambda _store: None)

    with pytest.raises((ValueError, SpoolFailedError)):
        callers.step()
    later = callers.call()[0]

    futures: list[Future[Any]] = [*appends, first, second, job, later]
    assert {type(future.exception(timeout=0)) for future in futures} == {SpoolFailedError}
    assert callers.opened.spool.stats().accepted == 0


def test_a_job_that_fails_answers_its_caller_and_everybody_behind_it(callers: Callers) -> None:
    job = callers.commits.submit_job(break_disk)
    behind = callers.commits.submit_job(lambda _store: None)

    with pytest.raises(SpoolFailedError):
        callers.step()

    assert isinstance(job.exception(timeout=0), SpoolFailedError)
    assert isinstance(behind.exception(timeout=0), SpoolFailedError)


def test_damage_met_in_a_commit_is_called_damage(state_dir: Path) -> None:
    def meet_damage(_connection: sqlite3.Connection) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with open_spool(state_dir, commit=meet_damage) as opened:
        future = opened.spool.append([make_draft()])
        with pytest.raises(SpoolCorruptError):
            opened.commit()
        assert isinstance(future.exception(timeout=0), SpoolCorruptError)


def test_close_answers_everything_that_waits_and_all_that_comes_later(callers: Callers) -> None:
    waiting = callers.call(2)
    write = callers.commits.submit_write(lambda _tx: None)
    callers.commits.close(SpoolClosedError("closed"))
    later = callers.call()[0]

    futures: list[Future[Any]] = [*waiting, write, later]
    assert {type(future.exception(timeout=0)) for future in futures} == {SpoolClosedError}
    assert callers.commits.waiting_bytes == 0


def test_a_checkpoint_comes_when_the_log_has_grown_and_empties_it(spool: OpenSpool) -> None:
    while not spool.watcher.checkpoints:
        spool.append(make_big_drafts(4))
    size = spool.store.wal_bytes()
    spool.append(make_drafts(1))

    assert size == spool.store.wal_bytes() < 1.5 * spool.limits.checkpoint_bytes
    assert spool.store.measure_wal() < 100_000
    assert spool.watcher.checkpoints == 1
    assert (spool.directory / "spool.db").stat().st_size > 100 * KIB
