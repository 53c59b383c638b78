"""The spool with its writer thread, and many threads that use it at once."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection

import pytest

from spoold.errors import SpoolClosedError, SpoolFailedError
from spoold.record import Event
from spoold.runtime import Loop, ThreadSignal
from spoold.spool.store import commit
from spoold.spool.values import Receipt
from tests.support.clock import FakeClock
from tests.support.events import make_draft, make_drafts
from tests.support.spools import MIB, OpenSpool, running_spool

LANE = "mixpanel"
PATIENCE_SECONDS = 20.0


class Gate:
    """Holds the writer up in the midst of a commit.

    Attributes:
        is_reached: The writer stands before it.
    """

    def __init__(self) -> None:
        self.is_reached = threading.Event()
        self._is_open = threading.Event()
        self._is_open.set()

    def shut(self) -> None:
        self._is_open.clear()
        self.is_reached.clear()

    def open(self) -> None:
        self._is_open.set()

    def commit(self, connection: Connection) -> None:
        self.is_reached.set()
        assert self._is_open.wait(PATIENCE_SECONDS)
        commit(connection)


def test_every_caller_gets_receipts_of_his_own_and_commits_are_shared(state_dir: Path) -> None:
    callers, calls = 16, 40
    with running_spool(state_dir) as opened, ThreadPoolExecutor(callers) as pool:
        opened.spool.open_lane(LANE, LANE, "earliest")

        def call(caller: int) -> list[Receipt]:
            drafts = [[make_draft(f"{caller}.{number}")] for number in range(calls)]
            return [opened.spool.append(one).result(PATIENCE_SECONDS)[0] for one in drafts]

        receipts = [receipt for mine in pool.map(call, range(callers)) for receipt in mine]

        assert sorted(receipt.seq for receipt in receipts) == [*range(1, callers * calls + 1)]
        by_seq = [receipt.event_id for receipt in sorted(receipts)]
        assert by_seq == sorted(by_seq)
        assert sum(opened.watcher.groups) == callers * calls
        assert len(opened.watcher.groups) < callers * calls


def test_append_never_blocks_while_the_disk_hangs(state_dir: Path) -> None:
    gate = Gate()
    with running_spool(state_dir, commit=gate.commit) as opened:
        gate.shut()
        futures = [opened.spool.append([make_draft()]) for _ in range(100)]
        assert gate.is_reached.wait(PATIENCE_SECONDS)
        futures += [opened.spool.append([make_draft()]) for _ in range(100)]

        assert not any(future.done() for future in futures)
        assert len(opened.spool.lanes()) == 0
        gate.open()
        assert [future.result(PATIENCE_SECONDS)[0].seq for future in futures] == [*range(1, 201)]


def test_what_reads_does_not_wait_for_a_disk_that_hangs(state_dir: Path) -> None:
    gate = Gate()
    with running_spool(state_dir, commit=gate.commit) as opened:
        opened.spool.open_lane(LANE, LANE, "earliest")
        made = opened.spool.append(make_drafts(3)).result(PATIENCE_SECONDS)
        gate.shut()
        future = opened.spool.append(make_drafts(1))
        assert gate.is_reached.wait(PATIENCE_SECONDS)

        assert opened.seqs(LANE) == [1, 2, 3]
        assert opened.spool.stats().accepted == 3
        assert opened.spool.find(made[1].event_id) is not None
        gate.open()
        future.result(PATIENCE_SECONDS)


def test_lanes_settle_while_others_append(state_dir: Path) -> None:
    names, events = ("a", "b", "c"), 2_000
    with running_spool(state_dir) as opened, ThreadPoolExecutor(len(names)) as pool:
        for name in names:
            opened.spool.open_lane(name, LANE, "earliest")

        def drain(name: str) -> list[int]:
            lease, seen = opened.spool.claim(name), list[int]()
            while len(seen) < events:
                opened.spool.wait(name, 1, PATIENCE_SECONDS)
                page = opened.spool.read(name, opened.lane(name).cursor, max_events=70, max_bytes=MIB)
                assert all(isinstance(event, Event) for event in page.events)
                opened.settle(lease, page.after, id=f"{name} {page.after}".encode(), delivered=len(page.events))
                seen += [event.seq for event in page.events]
            return seen

        drains = [pool.submit(drain, name) for name in names]
        for _ in range(events // 20):
            opened.spool.append(make_drafts(20)).result(PATIENCE_SECONDS)
        assert [one.result(PATIENCE_SECONDS) for one in drains] == [[*range(1, events + 1)]] * len(names)
        assert {(lane.delivered, lane.pending) for lane in opened.spool.lanes()} == {(events, 0)}


def wait_in_thread(opened: OpenSpool, pool: ThreadPoolExecutor, min_pending: int) -> "Future[None]":
    """A lane's thread that waits, and surely has begun to."""
    future = pool.submit(opened.spool.wait, LANE, min_pending, PATIENCE_SECONDS)
    wait = opened.spool._waits[LANE]
    while wait.min_pending != min_pending:
        pass
    return future


def test_a_lane_is_woken_when_its_threshold_is_crossed_and_not_before(state_dir: Path) -> None:
    with running_spool(state_dir) as opened, ThreadPoolExecutor(1) as pool:
        opened.spool.open_lane(LANE, LANE, "earliest")
        waiting = wait_in_thread(opened, pool, 3)
        opened.spool.append(make_drafts(2)).result(PATIENCE_SECONDS)
        assert not waiting.done()
        opened.spool.append(make_drafts(1)).result(PATIENCE_SECONDS)
        waiting.result(PATIENCE_SECONDS)


def test_a_nudge_ends_the_wait_and_one_that_came_early_ends_the_next(state_dir: Path) -> None:
    with running_spool(state_dir) as opened, ThreadPoolExecutor(1) as pool:
        opened.spool.open_lane(LANE, LANE, "earliest")
        waiting = wait_in_thread(opened, pool, 5)
        opened.spool.nudge(LANE)
        waiting.result(PATIENCE_SECONDS)

        opened.spool.nudge(LANE)
        pool.submit(opened.spool.wait, LANE, 5, None).result(PATIENCE_SECONDS)


@pytest.mark.parametrize(("pending", "timeout_seconds"), [(3, None), (5, None), (2, 0.001)])
def test_a_wait_ends_at_once_when_enough_is_pending_or_at_its_timeout(
    state_dir: Path, pending: int, timeout_seconds: float | None
) -> None:
    with running_spool(state_dir) as opened, ThreadPoolExecutor(1) as pool:
        opened.spool.open_lane(LANE, LANE, "earliest")
        opened.spool.append(make_drafts(pending)).result(PATIENCE_SECONDS)

        pool.submit(opened.spool.wait, LANE, 3, timeout_seconds).result(PATIENCE_SECONDS)


def break_rule(opened: OpenSpool) -> None:
    """Something that the writer must not survive: a mistake that nobody thought of."""

    def mistake(_tx: object) -> object:
        raise KeyError("mistake")

    opened.spool.commits.submit_write(mistake).result(PATIENCE_SECONDS)


def test_a_writer_that_dies_leaves_nobody_waiting(state_dir: Path) -> None:
    with running_spool(state_dir) as opened, ThreadPoolExecutor(1) as pool:
        opened.spool.open_lane(LANE, LANE, "earliest")
        with pytest.raises(SpoolFailedError):
            pool.submit(break_rule, opened).result(PATIENCE_SECONDS)

        assert isinstance(opened.spool.append([make_draft()]).exception(PATIENCE_SECONDS), SpoolFailedError)
        with pytest.raises(SpoolFailedError):
            opened.spool.claim(LANE)
    assert isinstance(opened.writer_error, KeyError)


def test_a_disk_that_fails_under_many_callers_answers_each(state_dir: Path) -> None:
    commits = 0

    def fail_at_20(connection: Connection) -> None:
        nonlocal commits
        commits += 1
        if commits > 20:
            raise OSError("gone")
        commit(connection)

    with running_spool(state_dir, commit=fail_at_20) as opened, ThreadPoolExecutor(8) as pool:

        def call(_caller: int) -> int:
            accepted = 0
            while True:
                try:
                    accepted += len(opened.spool.append([make_draft()]).result(PATIENCE_SECONDS))
                except SpoolFailedError:
                    return accepted

        accepted = sum(pool.map(call, range(8)))
    with running_spool(state_dir) as opened:
        assert opened.spool.stats().accepted == accepted


def test_every_call_beside_a_close_is_answered(state_dir: Path) -> None:
    started = threading.Barrier(5)

    def call(opened: OpenSpool) -> int:
        started.wait(PATIENCE_SECONDS)
        accepted = 0
        while True:
            try:
                accepted += len(opened.spool.append(make_drafts(3)).result(PATIENCE_SECONDS))
            except SpoolClosedError:
                return accepted

    with ThreadPoolExecutor(4) as pool:
        with running_spool(state_dir) as opened:
            calls = [pool.submit(call, opened) for _ in range(4)]
            started.wait(PATIENCE_SECONDS)
            opened.spool.append([make_draft()]).result(PATIENCE_SECONDS)
        accepted = 1 + sum(one.result(PATIENCE_SECONDS) for one in calls)
    with running_spool(state_dir) as opened:
        assert opened.spool.stats().accepted == accepted


def run_loop(step: Callable[[float], float | None]) -> list[BaseException]:
    """Run a loop until it ends by itself."""
    deaths: list[BaseException] = []
    loop = Loop("test", step, FakeClock(), on_death=lambda _name, error: deaths.append(error))
    loop.start()
    assert loop.join(PATIENCE_SECONDS)
    return deaths


def test_a_loop_whose_step_raises_ends_and_says_so_once() -> None:
    error = RuntimeError("broken")

    def step(_now: float) -> float:
        raise error

    assert run_loop(step) == [error]


def test_a_loop_takes_its_steps_until_it_is_told_to_stop() -> None:
    steps: list[float] = []
    signal = ThreadSignal()
    enough = threading.Event()

    def step(now: float) -> float | None:
        steps.append(now)
        if len(steps) == 3:
            enough.set()
        return 0 if len(steps) < 3 else None

    loop = Loop("test", step, FakeClock(), on_death=lambda _name, _error: None, wait=signal.wait, wake=signal.set)
    loop.start()
    assert enough.wait(PATIENCE_SECONDS)
    loop.request_stop()
    loop.request_stop()
    assert loop.join(PATIENCE_SECONDS)

    assert steps == [1_000.0] * 3
